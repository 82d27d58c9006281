"""A weave in process against LLooM's method over a real llama.cpp server on the same file."""

from __future__ import annotations

import asyncio
import statistics
import time

from benchmarks.rows import MODEL, Row
from benchmarks.server import LLooM, server
from benchmarks.weaving import begin, run
from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.core.rules import Rules
from llterm.core.stories import STORIES

RULES = Rules(depth=12, cutoff=0.05, split_limit=3, beams=64, auto_stop=False, heal=False)
ROUNDS = 7
THREADS = 1


def measure() -> list[Row]:
    story = STORIES[0].text
    mine, evaluated, suggestions = asyncio.run(_in_process(story))
    with server(MODEL, THREADS) as (host, port):
        lloom = LLooM(host, port)
        lloom.suggest(story, RULES)
        lloom.requests = 0
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            found = lloom.suggest(story, RULES)
            times.append(time.perf_counter() - start)
        requests = lloom.requests // ROUNDS
    theirs = statistics.median(times)
    each = (theirs / len(found)) / (mine / suggestions)
    note = f"{THREADS} thread(s) each side; {len(found)} suggestions by {requests} requests"
    return [
        Row("LLooM's method, one weave", theirs * 1000, "ms", note=note),
        Row("in process, one weave", mine * 1000, "ms",
            note=f"{suggestions} suggestions, the best, by {evaluated} distributions"),
        Row("in process against LLooM's method", theirs / mine, "×", 8.5, at_least=True,
            note=f"per suggestion {each:.1f} ×"),
    ]  # fmt: skip


async def _in_process(story: str) -> tuple[float, int, int]:
    backend = await open_llama(MODEL, LlamaSettings(threads=THREADS))
    try:
        times = []
        for _ in range(ROUNDS + 1):
            weave = begin(backend, story, RULES)
            start = time.perf_counter()
            await run(weave, backend)
            times.append(time.perf_counter() - start)
        return statistics.median(times[1:]), len(weave.facts), len(weave.view().suggestions)
    finally:
        await backend.close()
