"""How far a distribution depends on what the context did before.

Weaves, accepts and edits follow each other in one context. The last stories are then woven in a
fresh context each: the same suggestions should be there, with the same probabilities.
"""

from __future__ import annotations

import asyncio
import math
import random
from pathlib import Path

from benchmarks.rows import Row
from benchmarks.weaving import begin, read_again, run
from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.core.suggestion_tree import Suggestion
from llterm.core.tokens import Tail
from llterm.core.weave_settings import WeaveSettings

RULES = WeaveSettings(depth=6, cutoff=0.1, split_limit=3, beams=12, auto_stop=False, heal=False)
SETTINGS = LlamaSettings(threads=2)
STORY = (
    "Once upon a time there was a little fox who lived at the edge of a dark forest. One evening"
)
WEAVES, COMPARED = 30, 8
EDIT_EVERY = 5
"""Every so many weaves a word in the first half of the story is replaced."""


def measure(models: list[Path]) -> list[Row]:
    return [row for model in models for row in asyncio.run(_measure(model))]


async def _measure(model: Path) -> list[Row]:
    differences, worst, equal = 0.0, 0.0, 0
    shared = 0
    for story, known in (await _used(model))[-COMPARED:]:
        backend = await open_llama(model, SETTINGS)
        fresh = _logprobs(await _suggestions(backend, story))
        await backend.close()
        both = [abs(known[tail] - fresh[tail]) for tail in known.keys() & fresh.keys()]
        differences, shared = differences + sum(both), shared + len(both)
        worst = max(worst, *both, 0.0)
        equal += known.keys() == fresh.keys()
    mean = differences / shared if shared else math.nan
    note = f"mean {mean:.1e}; the same suggestions in {equal} of {COMPARED}"
    return [Row(f"{model.name}: ln P after {WEAVES} weaves, off by", worst, "nats", note=note)]


async def _used(model: Path) -> list[tuple[str, dict[Tail, float]]]:
    """Stories, each a continuation or an edit of the one before, and what one context says."""
    chance, story, log = random.Random(3), STORY, []
    backend = await open_llama(model, SETTINGS)
    for turn in range(1, WEAVES + 1):
        suggestions = await _suggestions(backend, story)
        log.append((story, _logprobs(suggestions)))
        story += chance.choice(suggestions[:5]).data.decode("utf-8", "replace")
        if turn % EDIT_EVERY == 0:
            words = story.split(" ")
            place = chance.randrange(3, len(words) // 2)
            words[place] = chance.choice(["quietly", "red", "house"])
            story = " ".join(words)
    await backend.close()
    return log


async def _suggestions(backend: LlamaBackend, story: str) -> list[Suggestion]:
    weave = begin(backend, story, RULES)
    await run(weave, backend)
    woven, _ = await read_again(weave, backend)
    return list(woven.view().suggestions)


def _logprobs(suggestions: list[Suggestion]) -> dict[Tail, float]:
    return {suggestion.tail: suggestion.logprob for suggestion in suggestions}
