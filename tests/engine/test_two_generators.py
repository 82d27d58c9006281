"""What comes of a request is the same, drawn from slots or token by token from a backend."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest

from llterm.backends.llamacpp import LlamaBackend
from llterm.constraints.spec import Constraint, choices, regex
from llterm.core.bans import Bans
from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings, Sampling
from llterm.engine.backend_generator import BackendGenerator
from llterm.engine.generation import (
    GeneratedToken,
    GenerationEnd,
    GenerationRequest,
    Generator,
)
from llterm.engine.scheduler import open_scheduler

STORY = "The forest seemed darker than usual, but that did not bother Elis in the least. "
CONSTRAINTS = (
    None,
    None,
    choices([" yes", " no", " the cat", " the cart"]),
    regex("[0-9]{3}(,[0-9]{3})*"),
    regex("( (the|a|she|he|was|dark|cat))+\\."),
)
BANS = (Bans(), Bans(), Bans(phrases=("the", "she", "was")))
REQUESTS = 48
NATS = 0.01
"""By which logits differ with the number of rows that are evaluated together."""


def any_request(backend: LlamaBackend, rng: np.random.Generator, number: int) -> GenerationRequest:
    vocabulary = backend.vocabulary
    words = STORY.split()
    text = " ".join(words[: int(rng.integers(1, len(words)))])

    def some(count: int) -> list[int]:
        return [int(id) for id in rng.integers(vocabulary.size, size=count)]

    def either(wanted: int) -> int:
        return wanted if rng.random() < 0.5 else 0

    presets: list[SamplerSettings] = list(PRESETS.values())
    settings = replace(presets[number % len(presets)], seed=int(rng.integers(1000)))
    constraint: Constraint | None = CONSTRAINTS[int(rng.integers(len(CONSTRAINTS)))]
    return GenerationRequest(
        vocabulary.prefix + vocabulary.encode(text.encode()),
        Sampling(settings, None, bans=BANS[int(rng.integers(len(BANS)))]),
        choice=int(rng.integers(4)),
        most=int(rng.integers(1, 12)),
        least=either(4),
        ignore_end=bool(rng.random() < 0.2),
        stops=((), (), (" a", "."), ("e",))[int(rng.integers(4))],
        stop_ids=frozenset(some(either(200))),
        constraint=constraint,
        top=either(3),
        watched=tuple(some(either(3))),
        kept=either(5),
        allowed=frozenset(some(1500)) if constraint is None and rng.random() < 0.3 else None,
    )


def numbers(candidates: Sequence[tuple[int, float]]) -> list[float]:
    return [number for _, number in candidates]


async def drawn(
    generator: Generator, request: GenerationRequest
) -> tuple[list[GeneratedToken], str]:
    tokens: list[GeneratedToken] = []
    async with aclosing(generator.generate(request)) as news:
        async for item in news:
            if isinstance(item, GenerationEnd):
                return tokens, item.finish
            tokens.append(item)
    raise AssertionError("no end")


async def test_slots_and_a_backend_asked_token_by_token_draw_the_same(
    backend: LlamaBackend,
) -> None:
    rng = np.random.default_rng(18)
    requests = [any_request(backend, rng, number) for number in range(REQUESTS)]
    scheduler = await open_scheduler(backend, parallel=8, keepers=2, context=256, memory=64 << 20)
    try:
        from_slots = await asyncio.gather(*(drawn(scheduler, request) for request in requests))
    finally:
        await scheduler.close()
    generator = BackendGenerator(backend, running=8, waiting=REQUESTS)
    parted = 0
    for request, (tokens, finish) in zip(requests, from_slots, strict=True):
        others, other_finish = await drawn(generator, request)
        for place, (token, other) in enumerate(zip(tokens, others, strict=False)):
            # The raw model's, of the same place, whichever token was drawn there.
            assert token.watched == pytest.approx(other.watched, abs=NATS)
            assert numbers(token.top) == pytest.approx(numbers(other.top), abs=NATS)
            # Of two that are as good but for that noise either may be the last that is told.
            assert numbers(token.kept) == pytest.approx(numbers(other.kept), rel=NATS)
            assert len(dict(token.kept).keys() ^ dict(other.kept).keys()) <= 2
            if token.id != other.id:
                between = await mass_between(generator, request, place, token.id, other.id)
                assert between < NATS, request
                parted += 1
                break
            assert token.p == pytest.approx(other.p, rel=NATS)
        else:
            assert (len(tokens), finish) == (len(others), other_finish), request
    assert parted <= REQUESTS // 8
    assert {finish for _, finish in from_slots} >= {"stop", "length", "end"}


async def mass_between(
    generator: Generator, request: GenerationRequest, place: int, first: int, second: int
) -> float:
    """What lies, by id, between two tokens of those that may be drawn at a place: a number of
    chance that falls on the border of neighbours draws the one or the other."""
    tokens, _ = await drawn(generator, replace(request, kept=generator.vocabulary.size))
    low, high = sorted((first, second))
    chances = dict(tokens[place].kept)
    assert {low, high} <= chances.keys()
    return sum(p for id, p in chances.items() if low < id < high)
