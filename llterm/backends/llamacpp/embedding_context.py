"""A context on a model's weights that tells what texts are to it: one vector a text.

A model for text generation is read token by token, and the last layer's rows are put together here:
its file may say how, else their mean is taken. An encoder sees a text as a whole, and llama.cpp
itself puts the rows together. For one thread at a time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llterm.backends.llamacpp import thread_budget
from llterm.backends.llamacpp.binding import Batch, StopFlag, Stopped, decode_error, library
from llterm.backends.llamacpp.loader import LlamaSettings, context_params
from llterm.core.tokens import Tail
from llterm.errors import LltermError, ModelError, UsageError

CHUNK = 128
"""Tokens a decode of a model for text generation: each has a row of logits too, which nobody
reads."""
LANES = 32
"""Most texts a decode."""
_TOGETHER = 512
"""Tokens of texts that are in the context together, but for one that has more: each looks at the
cells of all."""
_NONE, _MEAN, _CLS, _LAST, _RANK = range(5)
"""llama.cpp's ways to put the rows of a text together."""
_Rows = NDArray[np.float32]


class EmbeddingContext:
    """A context of its own, with room for a decode's texts."""

    def __init__(
        self,
        model: Any,
        settings: LlamaSettings,
        window: int,
        stop: StopFlag,
        *,
        encoder: bool = False,
        lanes: int = LANES,
    ) -> None:
        """`window`: most tokens of a text; `encoder`: it sees a text as a whole; `lanes`: most
        texts a decode. Raises LltermError where memory is too small."""
        self._llama = llama = library()
        self.window = window
        self._encoder = encoder
        self._lanes = lanes
        self._together = min(_TOGETHER, window)
        self._stop = stop
        self._pooling = _pooling(llama, model)
        if encoder:
            # A cache of theirs would be read by nobody.
            settings = replace(settings, kv_type="f16")
        params = context_params(llama, settings, window, lanes)
        params.n_batch = params.n_ubatch = size = window if encoder else min(CHUNK, window)
        params.embeddings = True
        params.pooling_type = self._pooling if encoder else _NONE
        stop.attach(params)
        self._threads = params.n_threads
        self._context = llama.llama_init_from_model(model, params)
        if not self._context:
            raise LltermError(
                "There is not enough memory",
                f"A context for embeddings of {window:,} tokens could not be made.",
                "Set a smaller --context, or close other programs.",
            )
        self._call = llama.llama_decode
        if llama.llama_model_has_encoder(model):
            self._call = llama.llama_encode
        self._width = int(llama.llama_model_n_embd_out(model))
        self._batch = Batch(llama, size)

    def free(self) -> None:
        self._batch.free()
        self._llama.llama_free(self._context)

    def vectors(self, texts: Sequence[Tail]) -> Generator[None, None, _Rows]:
        """A row for each text, shape (texts, width), not of any length; yields after each decode.
        Raises UsageError naming the first text that does not fit, Stopped when the flag is set."""
        for number, text in enumerate(texts, 1):
            if not 0 < len(text) <= self.window:
                raise UsageError(
                    f"Text {number:,} is too large" if text else f"Text {number:,} is empty",
                    f"It has {len(text):,} tokens; of 1 to {self.window:,} there are embeddings.",
                    "Shorten it." if text else "",
                )
        rows: list[NDArray[np.floating]] = []
        for group in self._groups(texts):
            self._clear()
            if self._encoder:
                self._decode([(lane, 0, text) for lane, text in enumerate(group)])
                rows += [self._row(lane) for lane in range(len(group))]
                yield None
            else:
                rows += yield from self._put_together(group)
        return np.array(rows, dtype=np.float32).reshape(len(texts), self._width)

    def _groups(self, texts: Sequence[Tail]) -> Iterator[list[Tail]]:
        """Texts that are in the context together, in their order."""
        group: list[Tail] = []
        for text in texts:
            tokens = sum(map(len, group)) + len(text)
            if group and (len(group) == self._lanes or tokens > self._together):
                yield group
                group = []
            group.append(text)
        if group:
            yield group

    def _put_together(
        self, group: Sequence[Tail]
    ) -> Generator[None, None, list[NDArray[np.floating]]]:
        """The rows of each text as one, a few tokens at a time."""
        made: list[NDArray[np.floating]] = [np.zeros(self._width) for _ in group]
        for parts in _chunks(group, self._batch.size):
            self._decode(parts)
            raw = self._llama.llama_get_embeddings(self._context)
            count = sum(len(tokens) for _, _, tokens in parts)
            read = np.ctypeslib.as_array(raw, (count, self._width)).astype(np.float64)
            begin = 0
            for lane, start, tokens in parts:
                rows = read[begin : begin + len(tokens)]
                begin += len(tokens)
                if self._pooling == _MEAN:
                    made[lane] += rows.sum(axis=0) / len(group[lane])
                elif self._pooling == _LAST:
                    made[lane] = rows[-1]
                elif start == 0:
                    made[lane] = rows[0]
            yield None
        return made

    def _row(self, lane: int) -> _Rows:
        raw = self._llama.llama_get_embeddings_seq(self._context, lane)
        row: _Rows = np.ctypeslib.as_array(raw, (self._width,)).copy()
        return row

    def _decode(self, parts: Sequence[tuple[int, int, Tail]]) -> None:
        """Evaluate tokens of several texts: sequence, first position, tokens."""
        if self._stop:
            raise Stopped
        self._batch.clear()
        for lane, start, tokens in parts:
            self._batch.add(tokens, start, lane, last=True, every=True)
        self._batch.raw.n_tokens = self._batch.count
        with thread_budget.reserved(self._threads):
            code = int(self._call(self._context, self._batch.raw))
        if code == 2:
            raise Stopped
        if code:
            raise decode_error(code)

    def _clear(self) -> None:
        memory = self._llama.llama_get_memory(self._context)
        if memory:
            self._llama.llama_memory_clear(memory, False)


def _chunks(group: Sequence[Tail], size: int) -> Iterator[list[tuple[int, int, Tail]]]:
    """All tokens of the texts one after the other, in decodes of so many."""
    parts: list[tuple[int, int, Tail]] = []
    room = size
    for lane, text in enumerate(group):
        start = 0
        while start < len(text):
            tokens = text[start : start + room]
            parts.append((lane, start, tokens))
            start += len(tokens)
            room -= len(tokens)
            if room == 0:
                yield parts
                parts, room = [], size
    if parts:
        yield parts


def _pooling(llama: Any, model: Any) -> int:
    """How the rows of a text are put together: as the file says, else by their mean. Raises
    ModelError for what is no embedding."""
    said = _told(llama, model, f"{_told(llama, model, 'general.architecture')}.pooling_type")
    pooling = int(said) if said.isdecimal() else _NONE
    if pooling == _RANK:
        raise ModelError(
            "This model ranks pairs of texts",
            "It has no embeddings of single ones.",
            "Choose an embedding model.",
        )
    return pooling if pooling in (_CLS, _LAST) else _MEAN


def _told(llama: Any, model: Any, key: str) -> str:
    """What the file says there; empty where it does not."""
    room = ctypes.create_string_buffer(256)
    size = llama.llama_model_meta_val_str(model, key.encode(), room, len(room))
    return "" if size < 0 else room.value.decode("utf-8", "replace")
