"""Reading a text: against plain prompt evaluation with logits, on the same context settings."""

from __future__ import annotations

import asyncio
import statistics
import time

from benchmarks.bare_context import BareContext
from benchmarks.rows import MODEL, Row
from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.core.scored_text import TextReadings
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
    plain = BareContext(MODEL, cells=4096, batch=BATCH, threads=LlamaSettings().threads or 1)
    try:
        text = " ".join(story.text for story in STORIES) * 40
        ids = backend.vocabulary.encode(text.encode())[:TOKENS]
        ratios, mine = [], 0.0
        for _ in range(ROUNDS + 1):
            start = time.perf_counter()
            count = await _score(backend, ids)
            mine = time.perf_counter() - start
            theirs = evaluated(plain, backend.vocabulary.prefix + ids)
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
    readings = TextReadings()
    async for part, _ in score_text(backend, ids, window=2048, stride=1024):
        readings.add(part)
    return len(readings)


def evaluated(plain: BareContext, tokens: Tail) -> float:
    """Seconds for a whole prompt in large batches, every row's logits wanted."""
    plain.clear()
    start = time.perf_counter()
    for first in range(0, len(tokens), BATCH):
        plain.batch.clear()
        plain.batch.add(tokens[first : first + BATCH], first, 0, last=True, every=True)
        plain.decode()
    return time.perf_counter() - start
