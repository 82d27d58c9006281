"""A weave with `kernels = fast` against bare `llama_decode` calls of as many rows.

These have whichever of llama.cpp's switches are fastest here. Beside it what exact kernels take."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, closing
from pathlib import Path

from benchmarks.bare_context import BareContext
from benchmarks.local import Decodes, watched
from benchmarks.rows import Row
from benchmarks.weaving import begin, run
from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.backends.llamacpp.kernel_trial import with_fast_kernels
from llterm.core.tokens import Tail, text_bytes
from llterm.core.weave_settings import WeaveSettings
from llterm.session.stories import STORIES

RULES = WeaveSettings(depth=6, cutoff=0.02, split_limit=3, beams=64, auto_stop=False, heal=False)
SETTINGS = LlamaSettings(threads=1)
SIZES = (100, 1000)
"""Tokens of the story."""
ROUNDS = 3
BUDGET = 1.15
Switches = tuple[bool, bool]
"""Repacked weights, flash attention."""
ALL: tuple[Switches, ...] = ((False, False), (True, False), (False, True), (True, True))


def measure(models: list[Path]) -> list[Row]:
    return [row for model in models for row in asyncio.run(_measure(model))]


def _seconds(bare: BareContext, story: Tail, rows: list[int]) -> float:
    """Processor time for the story and then for batches of so many rows."""
    bare.clear()
    start = time.process_time()
    for first in range(0, len(story), bare.batch.size):
        bare.batch.clear()
        bare.batch.add(story[first : first + bare.batch.size], first, 0, last=False)
        bare.decode()
    ends = [len(story)] * (max(rows) + 1)
    for sequence in range(1, len(ends)):
        bare.copy(0, sequence, 0, len(story))
    for count in rows:
        bare.batch.clear()
        for sequence in range(1, count + 1):
            bare.batch.add((story[-sequence],), ends[sequence], sequence, last=True)
            ends[sequence] += 1
        bare.decode()
    return time.process_time() - start


async def _measure(path: Path) -> list[Row]:
    fast = await with_fast_kernels(path, SETTINGS)
    rows = []
    with ExitStack() as opened, watched() as seen:
        rivals = {
            (repack, flash): opened.enter_context(
                closing(
                    BareContext(
                        path, cells=4096, batch=512, sequences=256, repack=repack, flash=flash
                    )
                )
            )
            for repack, flash in ALL
        }
        backends = [await open_llama(path, settings) for settings in (fast, SETTINGS)]
        for size in SIZES:
            rows += await _compared(path, backends, rivals, seen, size)
        for backend in backends:
            await backend.close()
    return rows


async def _compared(
    path: Path,
    backends: list[LlamaBackend],
    rivals: dict[Switches, BareContext],
    seen: Decodes,
    size: int,
) -> list[Row]:
    """Each in turn, the least time of each; the bare ones with the rows of the fast weave."""
    vocabulary = backends[0].vocabulary
    text = " ".join(story.text for story in STORIES).encode() * 20
    story = vocabulary.encode(text)[: size - len(vocabulary.prefix)]
    words = text_bytes(vocabulary, story).decode("utf-8", "replace")
    mine, bare = [float("inf")] * len(backends), dict.fromkeys(rivals, float("inf"))
    for number in range(ROUNDS):
        for index, backend in reversed(list(enumerate(backends))):
            seen.tokens.clear()
            start = time.process_time()
            # Another beginning each time: nothing of it is there already.
            await run(begin(backend, f"{number} {words}", RULES), backend)
            mine[index] = min(mine[index], time.process_time() - start)
        batches = [count for count in seen.tokens if count <= RULES.beams]
        for switches, rival in rivals.items():
            bare[switches] = min(bare[switches], _seconds(rival, story, batches))
    fastest = min(bare, key=lambda switches: bare[switches])
    repack, flash = (("without", "with")[on] for on in fastest)
    kernels = backends[0].capabilities.kernels
    note = f"fast: {kernels.words if kernels else ''}; bare: {repack} repacking, {flash} flash"
    name = f"{path.name}, {size:,} tokens of story: weave with"
    return [
        Row(f"{name} fast kernels against bare decodes", mine[0] / bare[fastest], "×", BUDGET,
            note=note),
        Row(f"{name} exact kernels against fast ones", mine[1] / mine[0], "×"),
    ]  # fmt: skip
