"""A weave in process against LLooM's method over a real llama.cpp server on the same file."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from contextlib import ExitStack

from benchmarks.rows import MODEL, Row
from benchmarks.server import LLooM, server
from benchmarks.weaving import begin, run
from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from llterm.session.stories import STORIES

CUTOFFS = (0.3, 0.25, 0.22, 0.2, 0.18, 0.17, 0.16, 0.15, 0.14, 0.13, 0.12, 0.11, 0.1, 0.09, 0.08)
WANTED = 160
"""Suggestions of twelve tokens that the tree should hold: some 250 distributions, as by default."""
ROUNDS = 9
PAGES = " ".join([f"{STORIES[0].text} noise. {STORIES[2].text} he went in."] * 25)
BEFORE = {"a paragraph": "", "five pages": PAGES + "\n\n"}
"""What stands before the last paragraph: the whole prompt has some 30 and 1,500 tokens."""
OTHER = "Another text, so that no path of the last round is left."
CORES = os.cpu_count() or 2
DEFAULT = max(CORES - 1, 1)
"""Threads that llterm takes by itself; llama.cpp's server takes all cores."""


def measure() -> list[Row]:
    """Both find every suggestion above a cutoff, so that both have the same tree to go through.

    (LLooM's beam limit is not the best N; with a limit the two would give different things.) The
    story before the cursor is in the cache on both sides. They take turns, so that what else runs
    on the machine slows both down.
    """
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    backend = await open_llama(MODEL, LlamaSettings(threads=DEFAULT))
    try:
        return [
            row for name, before in BEFORE.items() for row in await _compare(backend, name, before)
        ]
    finally:
        await backend.close()


async def _compare(backend: LlamaBackend, name: str, before: str) -> list[Row]:
    story = before + STORIES[1].text
    rules = await _rules(backend, story)
    mine: list[float] = []
    theirs: dict[int, list[float]] = {threads: [] for threads in sorted({DEFAULT, CORES})}
    with ExitStack() as stack:
        servers = {one: LLooM(*stack.enter_context(server(MODEL, one))) for one in theirs}
        for lloom in servers.values():
            lloom.suggest(story, rules)
        for _ in range(ROUNDS):
            for text in (OTHER, story):
                await run(begin(backend, text, WeaveSettings(depth=1)), backend)
            weave = begin(backend, story, rules)
            start = time.perf_counter()
            await run(weave, backend)
            mine.append(time.perf_counter() - start)
            for threads, lloom in servers.items():
                lloom.requests = 0
                start = time.perf_counter()
                lloom.suggest(story, rules)
                theirs[threads].append(time.perf_counter() - start)
    return [
        Row(
            f"weave after {name}, in process",
            statistics.median(mine) * 1000,
            "ms",
            note=f"{len(weave.view().suggestions)} suggestions by {len(weave.facts)} distributions,"
            f" {DEFAULT} thread(s), cutoff {rules.cutoff}",
        ),
        *(
            _row(mine, times, threads, servers[threads].requests, judged=bool(before))
            for threads, times in theirs.items()
        ),
    ]


def _row(
    mine: list[float], theirs: list[float], threads: int, requests: int, *, judged: bool
) -> Row:
    ratio = statistics.median(one / other for one, other in zip(theirs, mine, strict=True))
    note = f"{requests} requests, {statistics.median(theirs) * 1000:.0f} ms"
    budget = 8.5 if judged and threads == CORES else None
    name = f"  × LLooM's method, server with {threads} thread(s)"
    return Row(name, ratio, "×", budget, at_least=True, note=note)


async def _rules(backend: LlamaBackend, story: str) -> WeaveSettings:
    """Rules under which the tree has about the wanted size."""
    sizes: dict[WeaveSettings, int] = {}
    for cutoff in CUTOFFS:
        rules = WeaveSettings(12, cutoff, split_limit=3, beams=10_000, auto_stop=False, heal=False,
                      budget=2_000)  # fmt: skip
        weave: Weave = begin(backend, story, rules)
        await run(weave, backend)
        sizes[rules] = len(weave.view().suggestions)
        if sizes[rules] > 2 * WANTED:
            break
    return min(sizes, key=lambda one: abs(sizes[one] - WANTED))
