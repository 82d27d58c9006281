"""llama-perplexity's base files: a reference's logprobs on disk, to compare with again and again.

Layout, from `perplexity` and `kl_divergence` in llama.cpp's tools/perplexity/perplexity.cpp, all of
it little-endian: `_logits_`; window size, vocabulary size and number of windows as 32-bit numbers;
the windows' tokens in 32 bits each; then for each window the rows before its tokens from
size//2 + 1 on, packed (`core/comparison/packed_rows.py`).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np
from numpy.typing import NDArray

from llterm.core.comparison.packed_rows import pack, unpack, width
from llterm.core.tokens import Tail
from llterm.errors import LltermError, UsageError, reason
from llterm.regular_file import open_file

_MAGIC = b"_logits_"
_HEAD = struct.Struct("<Iii")
_MOST = 1 << 31
_SLACK = 0.01
"""Nats that rounding to 16 bits may take a logprob too far."""


class BaseFile:
    """A base file that is read, a few rows at a time. Raises UsageError where it is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = open_file(path)
        except OSError as error:
            raise UsageError(
                f"{path} cannot be read", f"{reason(error)}.", "Name a base file."
            ) from error
        try:
            self._read_head()
        except UsageError:
            self._file.close()
            raise

    def _read_head(self) -> None:
        head = self._file.read(len(_MAGIC) + _HEAD.size)
        if len(head) < len(_MAGIC) + _HEAD.size or not head.startswith(_MAGIC):
            raise UsageError(
                f"{self.path.name} is no base file",
                "It does not begin as llama-perplexity's files of log-probabilities do.",
                "`llterm mix --write-base FILE` and `llama-perplexity --kl-divergence-base FILE` "
                "make them.",
            )
        self.window: int
        self.size: int
        self.count: int
        self.window, self.size, self.count = _HEAD.unpack_from(head, len(_MAGIC))
        sound = 2 < self.window < _MOST and 0 < self.size < _MOST and 0 < self.count < _MOST
        self._rows = len(head) + 4 * self.window * self.count
        expected = self._rows + self.count * self.scored * 2 * width(self.size)
        length = self.path.stat().st_size
        if not sound or length < expected:
            raise UsageError(
                f"{self.path.name} is cut short",
                f"It has {length:,} bytes; {expected:,} belong to its {self.count:,} windows.",
                "Make it again, or copy it again.",
            )
        tokens = np.frombuffer(self._file.read(4 * self.window * self.count), "<i4")
        if tokens.min() < 0 or tokens.max() >= self.size:
            raise UsageError(f"{self.path.name} is damaged", "It has tokens that do not exist.", "")
        self._tokens = tokens

    @property
    def first(self) -> int:
        """Index of the first token of a window that has a row."""
        return self.window // 2 + 1

    @property
    def scored(self) -> int:
        """Rows a window."""
        return self.window - self.first

    def tokens(self, index: int) -> Tail:
        """A window's tokens."""
        part = self._tokens[index * self.window : (index + 1) * self.window]
        return tuple(part.tolist())

    def rows(self, index: int, start: int, stop: int) -> NDArray[np.float32]:
        """Logprobs before the window's tokens `start` to `stop`, shape (stop - start, size).

        Raises UsageError where a row is no probabilities (a damaged file).
        """
        row = 2 * width(self.size)
        self._file.seek(self._rows + (index * self.scored + start - self.first) * row)
        data = self._file.read((stop - start) * row)
        packed = np.frombuffer(data, "<u2").reshape(stop - start, width(self.size))
        with np.errstate(invalid="ignore", over="ignore"):  # It is checked here.
            rows = unpack(packed, self.size)
        # Of any probabilities the best is 1 at most, and no less than its share of so many.
        best = rows.max(axis=1)
        sound = (
            np.isfinite(rows).all(axis=1) & (best < _SLACK) & (best > -math.log(self.size) - _SLACK)
        )
        if not sound.all():
            place = start + int(np.argmin(sound))
            raise UsageError(
                f"{self.path.name} is damaged",
                f"Before token {place:,} of window {index + 1:,} it holds no probabilities.",
                "Make it again, or copy it again.",
            )
        return rows

    def close(self) -> None:
        self._file.close()


class BaseWriter:
    """A base file that is written beside a comparison; whole only once all its rows are there."""

    def __init__(self, path: Path, window: int, size: int, windows: Sequence[Tail]) -> None:
        """`windows`: their tokens, the text's own also where a model begins with another one.

        Raises UsageError where the file is there already, or cannot be made.
        """
        self.path = path
        try:
            self._file: IO[bytes] = path.open("xb")
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written", f"{reason(error)}.", "Name a new file."
            ) from error
        self._write(_MAGIC + _HEAD.pack(window, size, len(windows)))
        for tokens in windows:
            self._write(np.array(tokens, "<i4").tobytes())

    def add(self, logits: NDArray[np.float32]) -> None:
        """The next rows, shape (n, size). Raises LltermError where the disk takes no more."""
        self._write(pack(logits).tobytes())

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            self._give_up()
            raise self._refused(error) from error

    def _give_up(self) -> None:
        with suppress(OSError):
            self._file.close()
        self.path.unlink(missing_ok=True)

    def _refused(self, error: OSError) -> LltermError:
        cause = f"{reason(error)}."
        return LltermError(f"{self.path} cannot be written", cause, "Name a file on another disk.")

    def __enter__(self) -> BaseWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            self._give_up()
            return
        try:
            self._file.close()
        except OSError as failed:
            self._give_up()
            raise self._refused(failed) from failed
