"""A GGUF file run by llama.cpp, through the C interface of llama-cpp-python.

The high-level class of that package is not used because it cannot turn off the extra weight buffers
(repacked weights, AMX). Without them a quantised file takes the same code path for every batch
shape, and runs on machines whose CPU reports AMX while the system does not allow it.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp
import numpy as np

FLASH_ATTENTION_OFF = 0
NO_LOG = llama_cpp.llama_log_callback(lambda level, text, data: None)


class GgufModel:
    """An open GGUF file with one sequence in its cache."""

    def __init__(self, path: Path, context: int, threads: int, f32_cache: bool = False) -> None:
        llama_cpp.llama_log_set(NO_LOG, None)
        model_options = llama_cpp.llama_model_default_params()
        model_options.use_extra_bufts = False
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_options)
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {path}")
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.vocab_size = llama_cpp.llama_vocab_n_tokens(self.vocab)
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = options.n_batch = context
        options.n_threads = options.n_threads_batch = threads
        options.flash_attn_type = FLASH_ATTENTION_OFF
        if f32_cache:
            options.type_k = options.type_v = llama_cpp.GGML_TYPE_F32
        self.context = llama_cpp.llama_init_from_model(self.model, options)
        self.batch = llama_cpp.llama_batch_init(context, 0, 1)
        self.length = 0

    def close(self) -> None:
        """Free the file and its cache."""
        llama_cpp.llama_batch_free(self.batch)
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self.model)

    def __enter__(self) -> GgufModel:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def clear(self) -> None:
        """Forget the tokens read so far."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)
        self.length = 0

    def read(self, tokens: list[int]) -> np.ndarray:
        """Append `tokens` to the sequence and return the logits after each of them."""
        self.batch.n_tokens = len(tokens)
        for index, token in enumerate(tokens):
            self.batch.token[index] = token
            self.batch.pos[index] = self.length + index
            self.batch.n_seq_id[index] = 1
            self.batch.seq_id[index][0] = 0
            self.batch.logits[index] = True
        if llama_cpp.llama_decode(self.context, self.batch) != 0:
            raise SystemExit("llama.cpp could not run the batch")
        self.length += len(tokens)
        logits = llama_cpp.llama_get_logits(self.context)
        return np.ctypeslib.as_array(logits, shape=(len(tokens), self.vocab_size)).copy()

    def tokenize(self, text: str) -> list[int]:
        """Return the tokens of `text`, without the special token in front."""
        data = text.encode("utf-8")
        buffer = (llama_cpp.llama_token * (len(data) + 8))()
        count = llama_cpp.llama_tokenize(
            self.vocab, data, len(data), buffer, len(buffer), False, False
        )
        return list(buffer[:count])

    def to_bytes(self, tokens: list[int]) -> bytes:
        """Return the bytes that `tokens` stand for."""
        buffer = ctypes.create_string_buffer(256)
        pieces = []
        for token in tokens:
            size = llama_cpp.llama_token_to_piece(self.vocab, token, buffer, 256, 0, True)
            pieces.append(buffer.raw[:size])
        return b"".join(pieces)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return log probabilities in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
