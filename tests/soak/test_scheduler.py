"""Hundreds of requests on one model, many of which are cut short: none lost, doubled or crossed."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing
from dataclasses import replace

import pytest

from llterm.backends.llamacpp import LlamaBackend
from llterm.constraints.spec import regex
from llterm.core.sampling.sampler_settings import PRESETS, Sampling
from llterm.engine.generation import GeneratedToken, GenerationEnd, GenerationRequest
from llterm.engine.scheduler import Scheduler, open_scheduler
from tests.helpers.polling import until
from tests.helpers.soak_rounds import rounds

pytestmark = pytest.mark.soak

FREE = Sampling(replace(PRESETS["neutral"], seed=1), "neutral")
STORIES = (
    "The forest seemed darker than usual, but that did not bother Elis in the least. ",
    "Once there was a maker of lamps who lived by the sea with a cat and two ships. ",
)
REQUESTS = rounds(500)
KINDS = 40
"""Different requests; each is drawn once alone, and then many times in company."""


def request_of(backend: LlamaBackend, number: int) -> GenerationRequest:
    chance = random.Random(number)
    text = STORIES[number % 2] * chance.randint(1, 4) + f"Number {number} is"
    tokens = backend.vocabulary.prefix + backend.vocabulary.encode(text.encode())
    return GenerationRequest(
        tokens,
        FREE,
        choice=number % 3,
        most=chance.randint(1, 24),
        ignore_end=bool(number % 2),
        stops=(" and",) if number % 5 == 0 else (),
        constraint=regex("[a-z ]{0,9}[.]") if number % 7 == 0 else None,
        whose="ab"[number % 2],
    )


async def drawn(
    scheduler: Scheduler, request: GenerationRequest, cut: int | None = None
) -> list[GeneratedToken | str]:
    """Its tokens and why it ended; up to `cut` tokens."""
    items: list[GeneratedToken | str] = []
    async with aclosing(scheduler.generate(request)) as news:
        async for item in news:
            if len(items) == cut:
                break
            items.append(item.finish if isinstance(item, GenerationEnd) else item)
    return items


async def test_no_request_is_lost_doubled_or_crossed(backend: LlamaBackend) -> None:
    scheduler = await open_scheduler(backend, parallel=12, context=512, memory=64 << 20)
    requests = [request_of(backend, number) for number in range(KINDS)]
    alone = [await drawn(scheduler, request) for request in requests]
    chance = random.Random(0)
    turns = asyncio.Semaphore(40)

    async def ask(number: int) -> None:
        kind = chance.randrange(KINDS)
        cut = chance.choice([None, None, 0, 3])
        async with turns:
            items = await drawn(scheduler, requests[kind], cut)
        wanted = alone[kind] if cut is None else alone[kind][:cut]
        assert [getattr(item, "id", item) for item in items] == [
            getattr(item, "id", item) for item in wanted
        ], number

    await asyncio.gather(*(ask(number) for number in range(REQUESTS)))
    await until(lambda: (scheduler.running, scheduler.waiting) == (0, 0))
    await scheduler.close()
