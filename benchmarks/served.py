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

CUTOFFS = (0.3, 0.25, 0.22, 0.2, 0.18, 0.16, 0.15, 0.14, 0.13, 0.12, 0.11, 0.1, 0.09, 0.08)
WANTED = 64
"""Suggestions of twelve tokens that the tree should hold."""
ROUNDS = 7
THREADS = 1


def measure() -> list[Row]:
    """Both find every suggestion above a cutoff, so that both have the same tree to go through.

    (LLooM's beam limit is not the best N; with a limit the two would give different things.)
    """
    story = STORIES[1].text
    rules, mine, evaluated, suggestions = asyncio.run(_in_process(story))
    with server(MODEL, THREADS) as (host, port):
        lloom = LLooM(host, port)
        lloom.suggest(story, rules)
        lloom.requests = 0
        times = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            found = lloom.suggest(story, rules)
            times.append(time.perf_counter() - start)
        requests = lloom.requests // ROUNDS
    theirs = statistics.median(times)
    note = f"{THREADS} thread(s) each side; {len(found)} suggestions by {requests} requests"
    return [
        Row("LLooM's method, one weave", theirs * 1000, "ms", note=note),
        Row("in process, one weave", mine * 1000, "ms",
            note=f"{suggestions} suggestions by {evaluated} distributions"),
        Row("in process against LLooM's method", theirs / mine, "×", 8.5, at_least=True,
            note=f"every suggestion above cutoff {rules.cutoff}, depth {rules.depth}"),
    ]  # fmt: skip


async def _in_process(story: str) -> tuple[Rules, float, int, int]:
    backend = await open_llama(MODEL, LlamaSettings(threads=THREADS))
    try:
        sizes = {}
        for cutoff in CUTOFFS:
            rules = Rules(12, cutoff, split_limit=3, beams=10_000, auto_stop=False, heal=False,
                          budget=2_000)  # fmt: skip
            weave = begin(backend, story, rules)
            await run(weave, backend)
            sizes[rules] = len(weave.view().suggestions)
            if sizes[rules] > 2 * WANTED:
                break
        rules = min(sizes, key=lambda one: abs(sizes[one] - WANTED))
        times = []
        for _ in range(ROUNDS):
            weave = begin(backend, story, rules)
            start = time.perf_counter()
            await run(weave, backend)
            times.append(time.perf_counter() - start)
        found = len(weave.view().suggestions)
        return rules, statistics.median(times), len(weave.facts), found
    finally:
        await backend.close()
