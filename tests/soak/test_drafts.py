"""Draws with a draft are those of plain sampling, one by one and as a distribution.

LLTERM_SOAK=4: ten thousand of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from llterm.backends.llamacpp import LlamaBackend
from llterm.config import Config, ModelConfig
from llterm.core.sampling.sampler_settings import PRESETS, Sampling
from llterm.core.tokens import Tail
from llterm.engine.draft_opener import DraftChoice
from llterm.engine.draw import Drawing, DrawingStart, Sample
from llterm.engine.generation import GenerationRequest
from llterm.engine.scheduler import Scheduler, open_scheduler
from tests.helpers.bundled_model import quantized
from tests.helpers.generations import generated
from tests.helpers.known_tokens import chain_of
from tests.helpers.soak_rounds import rounds

pytestmark = pytest.mark.soak

DRAWS = rounds(2_500)
LENGTH = 3
STORY = "The forest seemed darker than usual, but that did not bother Elis in the least. "
CHAIN = replace(PRESETS["neutral"], order=("top_k", "temperature"), top_k=3)
"""Three candidates a place: 27 texts, of which each is drawn often enough to be counted."""


async def drafted_texts(
    scheduler: Scheduler, prompt: Tail, sampling: Sampling
) -> tuple[list[Tail], int]:
    """As many as are drawn, by number, and how many of their tokens were written ahead."""
    texts: list[Tail] = []
    accepted = 0
    for start in range(0, DRAWS, 4):
        requests = [
            GenerationRequest(prompt, sampling, number, LENGTH, ignore_end=True)
            for number in range(start, min(start + 4, DRAWS))
        ]
        for tokens, end in await asyncio.gather(*(generated(scheduler, each) for each in requests)):
            texts.append(tuple(token.id for token in tokens))
            accepted += end.accepted
    return texts, accepted


async def plain_texts(backend: LlamaBackend, prompt: Tail, sampling: Sampling) -> list[Tail]:
    samples = [Sample(number, most=LENGTH) for number in range(DRAWS)]
    chain = chain_of(backend.vocabulary, sampling)
    drawing = Drawing(backend, chain, DrawingStart(prompt, STORY.encode()), samples)
    async for _ in drawing.run():
        pass
    return [sample.tail for sample in samples]


async def test_draws_with_a_draft_are_those_of_plain_sampling(
    backend: LlamaBackend, tmp_path: Path
) -> None:
    prompt = backend.vocabulary.prefix + backend.vocabulary.encode(STORY.encode())
    small = ModelConfig(path=quantized(tmp_path, "q2_K"), threads=1)
    draft = DraftChoice("small", 2, Config(models={"small": small}))
    scheduler = await open_scheduler(
        backend, parallel=4, keepers=0, context=512, memory=128 << 20, draft=draft
    )
    one = Sampling(replace(CHAIN, seed=1), None)
    other = Sampling(replace(CHAIN, seed=2), None)
    try:
        drafted, accepted = await drafted_texts(scheduler, prompt, one)
    finally:
        await scheduler.close()
    assert accepted > DRAWS // 2
    same = await plain_texts(backend, prompt, one)
    # A number in a thousand may fall between two roundings; of few draws twice as many.
    parted = sum(here != there for here, there in zip(drafted, same, strict=True))
    assert parted <= max(DRAWS // 1000, 5)
    independent = Counter(await plain_texts(backend, prompt, other))
    counted = Counter(drafted)
    both = [text for text in counted | independent if counted[text] + independent[text] >= 10]
    square = sum(
        (counted[text] - independent[text]) ** 2 / (counted[text] + independent[text])
        for text in both
    )
    # 27 texts at the most: 26 degrees of freedom, of which one run in a thousand exceeds 54.1.
    assert len(both) <= 27
    assert square < 54.1, f"{parted} of {DRAWS:,} texts parted; χ² {square:.1f}"
