"""What comes of a request is the same, drawn from slots or token by token from a backend."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from llterm.backends.llamacpp import LlamaBackend
from llterm.constraints.spec import Constraint, choices, regex
from llterm.core.bans import Bans
from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings, Sampling
from llterm.engine.backend_generator import BackendGenerator
from llterm.engine.generation import GenerationRequest
from llterm.engine.scheduler import open_scheduler
from tests.helpers.drawn_apart import NATS, assert_parted, chances_at
from tests.helpers.generations import generated

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


async def test_slots_and_a_backend_asked_token_by_token_draw_the_same(
    backend: LlamaBackend,
) -> None:
    rng = np.random.default_rng(18)
    requests = [any_request(backend, rng, number) for number in range(REQUESTS)]
    scheduler = await open_scheduler(backend, parallel=8, keepers=2, context=256, memory=64 << 20)
    try:
        from_slots = await asyncio.gather(*(generated(scheduler, request) for request in requests))
        generator = BackendGenerator(backend, running=8, waiting=REQUESTS)
        for request, (tokens, end) in zip(requests, from_slots, strict=True):
            others, other_end = await generated(generator, request)
            for place, (token, other) in enumerate(zip(tokens, others, strict=False)):
                # The raw model's, of the same place, whichever token was drawn there.
                assert token.watched == pytest.approx(other.watched, abs=NATS)
                assert numbers(token.top) == pytest.approx(numbers(other.top), abs=NATS)
                if token.id != other.id:
                    here = token.id, await chances_at(scheduler, request, place)
                    there = other.id, await chances_at(generator, request, place)
                    assert_parted(request, place, here, there)
                    break
                # Of two that are as good but for that noise either may be the last that is told.
                assert len(dict(token.kept).keys() ^ dict(other.kept).keys()) <= 2
            else:
                assert (len(tokens), end.finish) == (len(others), other_end.finish), request
    finally:
        await scheduler.close()
    assert {end.finish for _, end in from_slots} >= {"stop", "length", "end"}
