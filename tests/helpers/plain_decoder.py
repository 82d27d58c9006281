"""The plain way: a context of its own for every prefix, decoded token by token."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llterm.backends.llamacpp.binding import library
from llterm.core.distribution import Logprobs
from llterm.core.tokens import Tail


class PlainDecoder:
    """Full logprobs after any token path, evaluated alone from the first token on."""

    def __init__(self, path: Path, context: int = 1024) -> None:
        self._llama = library()
        params = self._llama.llama_model_default_params()
        params.use_extra_bufts = False
        self._model = self._llama.llama_model_load_from_file(str(path).encode(), params)
        settings = self._llama.llama_context_default_params()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = context
        settings.flash_attn_type = 0
        settings.n_threads = settings.n_threads_batch = 1
        self._context = self._llama.llama_init_from_model(self._model, settings)
        self._size = self._llama.llama_vocab_n_tokens(
            self._llama.llama_model_get_vocab(self._model)
        )

    def logits(self, tokens: Tail) -> NDArray[np.float64]:
        """The model's own, shape (vocabulary size,)."""
        llama = self._llama
        llama.llama_memory_clear(llama.llama_get_memory(self._context), True)
        array = (llama.llama_token * len(tokens))(*tokens)
        assert llama.llama_decode(self._context, llama.llama_batch_get_one(array, len(tokens))) == 0
        raw = llama.llama_get_logits_ith(self._context, -1)
        pointer = ctypes.cast(raw, ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(pointer, (self._size,)).astype(np.float64)

    def logprobs(self, tokens: Tail) -> Logprobs:
        logits = self.logits(tokens)
        logits -= logits.max()
        found: Logprobs = (logits - np.log(np.exp(logits).sum())).astype(np.float32)
        return found

    def every(self, tokens: Tail) -> Logprobs:
        """Logprobs after each of the tokens, shape (tokens, vocabulary size), in one decode."""
        llama = self._llama
        llama.llama_memory_clear(llama.llama_get_memory(self._context), True)
        batch = llama.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            batch.token[index], batch.pos[index] = token, index
            batch.n_seq_id[index], batch.seq_id[index][0], batch.logits[index] = 1, 0, 1
        assert llama.llama_decode(self._context, batch) == 0
        pointer = llama.llama_get_logits(self._context)
        shape = (len(tokens), self._size)
        logits = np.ctypeslib.as_array(pointer, shape).astype(np.float64)
        llama.llama_batch_free(batch)
        logits -= logits.max(axis=1, keepdims=True)
        norms = np.log(np.exp(logits).sum(axis=1, keepdims=True))
        found: Logprobs = (logits - norms).astype(np.float32)
        return found

    def close(self) -> None:
        self._llama.llama_free(self._context)
        self._llama.llama_model_free(self._model)


@dataclass
class Decodes:
    """What went through `llama_decode`, counted below everything of llterm."""

    sizes: list[int] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    """Stretches of consecutive sequences in each: llama.cpp makes a graph of one where they are
    streams."""

    @property
    def tokens(self) -> int:
        return sum(self.sizes)


@contextmanager
def counted() -> Iterator[Decodes]:
    """Count every call of `llama_decode` in this process."""
    llama: Any = library()
    seen = Decodes()
    original: Callable[..., int] = llama.llama_decode

    def decode(context: Any, batch: Any) -> int:
        seen.sizes.append(batch.n_tokens)
        sequences = [batch.seq_id[token][0] for token in range(batch.n_tokens)]
        seen.runs.append(
            1 + sum(after - before not in (0, 1) for before, after in pairwise(sequences))
        )
        return original(context, batch)

    llama.llama_decode = decode
    try:
        yield seen
    finally:
        llama.llama_decode = original
