"""Attention weights out of llama.cpp's evaluation callback.

llama.cpp names the weights of layer n `kq_soft_max-n` where flash attention is off. The callback is
set when a context is made and would be asked about every node of every decode: it goes into a
context of its own, so that without a question it costs nothing.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import closing
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llterm.backends.llamacpp.binding import library
from llterm.backends.llamacpp.loader import LoadedModel
from llterm.backends.llamacpp.logits import check_numbers
from llterm.backends.llamacpp.side_context import CHUNK, SideContext
from llterm.core.attention_weights import Attention, Weights
from llterm.core.tokens import Tail
from llterm.errors import CapabilityMissing, LltermError

_NAME = b"kq_soft_max-"
_SLACK = 1e-3
"""How far a row's sum may be above 1 by rounding."""


def read_attention(
    loaded: LoadedModel, model: str, held: Tail, tokens: Tail, rows: int, columns: int
) -> Iterator[Attention | None]:
    """How the last `rows` tokens attend to the last `columns`, the mean of each layer's heads; None
    after each decode before.

    `held` is what the first context's sequence 0 stands for: that part is not evaluated again.
    Raises CapabilityMissing where no layer names such weights, ModelError naming the model where
    they are no numbers.
    """
    watch = _Watch(len(tokens) - columns, len(tokens))
    # Two rows at least: some kernels give a lone row other figures (Loaded.pairs).
    start = max(len(tokens) - max(rows, 2), 0)
    cells = len(tokens) + CHUNK
    with closing(SideContext(loaded, cells, watch=watch.callback)) as context:
        evaluated = yield from context.prepare(tokens[:start], held)
        evaluated += len(tokens) - start
        parts = np.array_split(np.arange(start, len(tokens)), -(-(len(tokens) - start) // CHUNK))
        for first, last in ((int(part[0]), int(part[-1])) for part in parts):
            watch.rows = range(first, last + 1)
            context.append(tokens[first : last + 1], first)
            if watch.fault is not None:
                raise watch.fault
            yield None
    if not watch.seen:
        raise CapabilityMissing(
            "This model shows no attention",
            "None of its layers names attention weights as llama.cpp usually does.",
            "Leaving tokens out works with every model.",
        )
    layers = tuple(sorted(watch.seen))
    weights = np.stack([np.concatenate(watch.seen[layer])[-rows:] for layer in layers])
    check_numbers(weights, model, "attention weights")
    yield Attention(layers, weights, evaluated)


class _Watch:
    """The callback, and what it saw."""

    def __init__(self, first: int, size: int) -> None:
        """Keeps the columns from `first` to `size`, the length of the text."""
        self.callback = library().ggml_backend_sched_eval_callback(self._call)
        self.seen: dict[int, list[Weights]] = {}
        """By layer: arrays of shape (rows of a decode, columns kept)."""
        self.rows = range(0)
        """Positions of the tokens that are being evaluated; none: nothing is read."""
        self.fault: LltermError | None = None
        self._first, self._size = first, size

    def _call(self, tensor: int, ask: bool, _: object) -> bool:
        """Whether a tensor is wanted; then, once it is computed, read it. Called by llama.cpp."""
        if not self.rows:
            return False
        name: bytes = _ggml().ggml_get_name(tensor)
        if not name.startswith(_NAME) or ask:
            return name.startswith(_NAME)
        try:
            mean = _read(tensor, self.rows)
        except LltermError as error:
            self.fault = error
            return False
        columns = np.zeros((len(self.rows), self._size - self._first), np.float32)
        visible = mean[:, self._first : self._size]
        columns[:, : visible.shape[1]] = visible
        self.seen.setdefault(int(name[len(_NAME) :]), []).append(columns)
        return True


def _read(tensor: int, rows: range) -> Weights:
    """The mean over heads, shape (rows, cells); the cell of a token is its position.

    Raises LltermError where the figures are no such weights.
    """
    ggml = _ggml()
    count, lines = int(ggml.ggml_nelements(tensor)), int(ggml.ggml_nrows(tensor))
    data: NDArray[np.float32] = np.empty(count, np.float32)
    ggml.ggml_backend_tensor_get(tensor, data.ctypes.data, 0, data.nbytes)
    heads = lines // len(rows)
    if heads * len(rows) == lines:
        mean: Weights = data.reshape(heads, len(rows), count // lines).mean(axis=0)
        later = np.arange(mean.shape[1]) > np.array(rows)[:, None]
        # What is no number is told of the whole model, once it is evaluated.
        blank = np.isnan(mean).any()
        if blank or (mean.sum(axis=1).max() <= 1 + _SLACK and not mean[later].any()):
            return mean
    raise LltermError(
        "The attention could not be read",
        "What llama.cpp computes under that name does not look like attention weights.",
        "Leaving tokens out works with every model.",
    )


@cache
def _ggml() -> Any:
    """ggml's own functions, which llama_cpp loads but does not name."""
    from llama_cpp._ggml import libggml

    libggml.ggml_get_name.restype = ctypes.c_char_p
    libggml.ggml_get_name.argtypes = [ctypes.c_void_p]
    for name in ("ggml_nelements", "ggml_nrows"):
        function = getattr(libggml, name)
        function.restype, function.argtypes = ctypes.c_int64, [ctypes.c_void_p]
    get = libggml.ggml_backend_tensor_get
    get.restype = None
    get.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t]
    return libggml
