"""llama.cpp through llama-cpp-python's low-level calls: the log, the stop flag, batches, memory."""

from __future__ import annotations

import ctypes
import logging
import os
from collections.abc import Sequence
from types import ModuleType
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from llterm.errors import LltermError

log = logging.getLogger("llama.cpp")

_LEVELS = {1: logging.DEBUG, 2: logging.INFO, 3: logging.WARNING, 4: logging.ERROR}
_kept: list[Any] = []
"""C callbacks that must outlive every call from C."""
_flags: WeakSet[StopFlag] = WeakSet()


def library() -> ModuleType:
    """The llama_cpp module, made ready on first use: quiet, with a patient OpenMP, and with one
    kernel for k-quants.

    Waiting workers that spin take a core from the app: 23 ms a decode against 11 with one of two
    cores busy. The policy must be in the environment before libgomp is loaded.

    llama.cpp multiplies k-quants (and IQ ones) by another kernel from 8 rows on, so that what a
    token was evaluated together with shows in its figures: gemma's ln p by 0.04 after two tokens,
    0 with that kernel for any number of rows. Decodes of 2 to 7 rows take about an eighth longer.
    It is in the environment before the first decode.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GGML_CPU_TILED_MM_FORCE", "1")
    import llama_cpp

    if not _kept:
        callback = llama_cpp.llama_log_callback(_log)
        _kept.append(callback)
        llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
    return llama_cpp


def _log(level: int, text: bytes, _: object) -> None:
    line = text.decode("utf-8", "replace").strip(".\n ")
    if line:
        # A decode that was told to stop complains in hundreds of lines.
        stopping = any(_flags)
        log.log(logging.DEBUG if stopping else _LEVELS.get(level, logging.DEBUG), "%s", line)


class Stopped(Exception):
    """The stop flag was set; the cells are consistent."""


class StopFlag:
    """A byte that llama.cpp looks at while it computes, without taking Python's lock.

    The abort callback is libc's `strlen` on the byte: 0 while it is zero, 1 once it is set.
    """

    def __init__(self) -> None:
        self._byte = ctypes.create_string_buffer(2)
        self._strlen = ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p).value
        _flags.add(self)

    def attach(self, params: Any) -> None:
        """Make a context with these parameters look at the flag."""
        params.abort_callback = type(params.abort_callback)(self._strlen or 0)
        params.abort_callback_data = ctypes.cast(self._byte, ctypes.c_void_p)

    def set(self) -> None:
        self._byte[0] = b"\x01"

    def clear(self) -> None:
        self._byte[0] = b"\x00"

    def __bool__(self) -> bool:
        return bool(self._byte[0] != b"\x00")


class Batch:
    """A `llama_batch` filled through numpy views of its arrays."""

    def __init__(self, llama: ModuleType, size: int) -> None:
        self._llama = llama
        self.size = size
        self.raw = llama.llama_batch_init(size, 0, 1)
        view = np.ctypeslib.as_array
        self._tokens: NDArray[np.int32] = view(self.raw.token, (size,))
        self._positions: NDArray[np.int32] = view(self.raw.pos, (size,))
        self._wanted: NDArray[np.int8] = view(self.raw.logits, (size,))
        view(self.raw.n_seq_id, (size,))[:] = 1
        # llama_batch_init allocates each token's sequence list on its own: write through pointers.
        self._sequences = [self.raw.seq_id[index] for index in range(size)]
        self.count = 0

    def clear(self) -> None:
        self.count = 0

    def add(
        self, tokens: tuple[int, ...], start: int, sequence: int, *, last: bool, every: bool = False
    ) -> None:
        """Append tokens of one sequence; `last`: the logits after the last of them are asked for,
        `every`: those after each."""
        begin, end = self.count, self.count + len(tokens)
        self._tokens[begin:end] = tokens
        self._positions[begin:end] = np.arange(start, start + len(tokens))
        self._wanted[begin:end] = every
        if last:
            self._wanted[end - 1] = 1
        for index in range(begin, end):
            self._sequences[index][0] = sequence
        self.count = end

    def set_each(
        self, tokens: Sequence[int], positions: Sequence[int], sequences: Sequence[int]
    ) -> None:
        """Let it hold one token of each of these sequences, whose logits are all asked for."""
        self.count = len(tokens)
        self._tokens[: self.count] = tokens
        self._positions[: self.count] = positions
        self._wanted[: self.count] = 1
        for index, sequence in enumerate(sequences):
            self._sequences[index][0] = sequence

    def add_double(self, sequence: int) -> None:
        """Append the first token once more, in a sequence of no account; its logits are unread, but
        asked for: the last layer is evaluated for rows whose logits are."""
        self.add((int(self._tokens[0]),), 0, sequence, last=True)

    def free(self) -> None:
        self._llama.llama_batch_free(self.raw)


def decode_error(code: int) -> LltermError:
    """A decode that failed for no reason that llterm knows."""
    return LltermError(
        "The model could not be evaluated",
        f"llama_decode answered {code}; the log has llama.cpp's own words.",
        "Try again; if it happens again, the file may be damaged.",
    )
