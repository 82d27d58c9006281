"""A model in a context of llama.cpp's, with nothing of llterm's around it but the binding."""

from __future__ import annotations

import os
from pathlib import Path

from llterm.backends.llamacpp.binding import Batch, library


class BareContext:
    """One model, one context, one batch."""

    def __init__(
        self,
        path: Path,
        *,
        cells: int,
        batch: int,
        sequences: int = 1,
        threads: int = 1,
        unified: bool = True,
        repack: bool = False,
        flash: bool = False,
    ) -> None:
        """`cells`: of all sequences together where they are `unified`, else of each."""
        llama = self.llama = library()
        wanted = llama.llama_model_default_params()
        wanted.use_extra_bufts, wanted.n_gpu_layers = repack, 0
        self._model = llama.llama_model_load_from_file(os.fsencode(path), wanted)
        params = llama.llama_context_default_params()
        params.n_ctx = cells if unified else cells * sequences
        params.n_batch = params.n_ubatch = batch
        params.n_seq_max, params.kv_unified, params.swa_full = sequences, unified, True
        params.flash_attn_type = int(flash)
        params.n_threads = params.n_threads_batch = threads
        self.context = llama.llama_init_from_model(self._model, params)
        assert self.context, "too little memory"
        self.batch = Batch(llama, batch)
        self.size = int(llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(self._model)))
        self._memory = llama.llama_get_memory(self.context)

    def clear(self) -> None:
        self.llama.llama_memory_clear(self._memory, True)

    def copy(self, source: int, target: int, start: int, stop: int) -> None:
        self.llama.llama_memory_seq_cp(self._memory, source, target, start, stop)

    def drop(self, sequence: int, start: int) -> None:
        self.llama.llama_memory_seq_rm(self._memory, sequence, start, -1)

    def decode(self) -> None:
        """Evaluate what is in the batch, to its end."""
        self.batch.raw.n_tokens = self.batch.count
        code = self.llama.llama_decode(self.context, self.batch.raw)
        assert code == 0, f"llama_decode said {code}"
        self.llama.llama_synchronize(self.context)

    def close(self) -> None:
        self.batch.free()
        self.llama.llama_free(self.context)
        self.llama.llama_model_free(self._model)
