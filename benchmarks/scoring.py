"""Reading a text: against plain prompt evaluation with logits, on the same context settings."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

from benchmarks.rows import MODEL, Row
from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.core.tokens import Tail
from llterm.engine.score import score_text
from llterm.session.stories import STORIES

TOKENS = 1900
BATCH = 512
ROUNDS = 7


def measure() -> list[Row]:
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    backend = await open_llama(MODEL, LlamaSettings())
    plain = Plain(str(MODEL), threads=LlamaSettings().threads or 1)
    try:
        text = " ".join(story.text for story in STORIES) * 40
        ids = backend.vocabulary.encode(text.encode())[:TOKENS]
        ratios, mine = [], 0.0
        for _ in range(ROUNDS + 1):
            start = time.perf_counter()
            count = await _score(backend, ids)
            mine = time.perf_counter() - start
            theirs = plain.evaluate(backend.vocabulary.prefix + ids)
            ratios.append(theirs / mine)
        ratio = statistics.median(ratios[1:])
        note = f"{count} tokens, {count / mine:,.0f} a second"
        return [
            Row("score against plain prompt evaluation with logits", ratio, "×", 0.9,
                at_least=True, note=note),
        ]  # fmt: skip
    finally:
        await backend.close()
        plain.close()


async def _score(backend: LlamaBackend, ids: Tail) -> int:
    count = 0
    async for _ in score_text(backend, ids, window=2048, stride=1024):
        count += 1
    return count


class Plain:
    """`llama_decode` on the whole prompt in large batches, every row's logits wanted."""

    def __init__(self, path: str, threads: int) -> None:
        import llama_cpp

        self._llama: Any = llama_cpp
        params = llama_cpp.llama_model_default_params()
        params.use_extra_bufts = False
        self._model = llama_cpp.llama_model_load_from_file(path.encode(), params)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = 4096, BATCH, BATCH
        settings.n_threads = settings.n_threads_batch = threads
        settings.flash_attn_type = 0
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        self._batch = llama_cpp.llama_batch_init(BATCH, 0, 1)

    def evaluate(self, tokens: Tail) -> float:
        """Seconds for all of them."""
        llama, batch = self._llama, self._batch
        llama.llama_memory_clear(llama.llama_get_memory(self._context), True)
        start = time.perf_counter()
        for first in range(0, len(tokens), BATCH):
            part = tokens[first : first + BATCH]
            batch.n_tokens = len(part)
            for index, token in enumerate(part):
                batch.token[index], batch.pos[index] = token, first + index
                batch.n_seq_id[index], batch.seq_id[index][0] = 1, 0
                batch.logits[index] = 1
            assert llama.llama_decode(self._context, batch) == 0
            llama.llama_synchronize(self._context)
        return time.perf_counter() - start

    def close(self) -> None:
        self._llama.llama_batch_free(self._batch)
        self._llama.llama_free(self._context)
        self._llama.llama_model_free(self._model)
