"""Texts drawn of the same model in two ways, which may part where its figures do.

A slot's row looks at its own stream, rows of a pool look at all cells together: llama.cpp takes
these sums by other kernels (alone, a row is the same to the last bit in either). With f16 weights
logprobs are then up to some thousandths apart, and a number of chance that falls in between draws
a token here and its neighbour there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from llterm.core.sampling.ladder import drawn_place, generator
from llterm.engine.generation import GenerationRequest, Generator
from tests.helpers.generations import generated

NATS = 0.01
"""More than logprobs were ever apart: 0.008."""


async def chances_at(source: Generator, request: GenerationRequest, place: int) -> dict[int, float]:
    """What each token that the chain left is drawn with there, by id."""
    tokens, _ = await generated(source, replace(request, kept=source.vocabulary.size))
    return dict(tokens[place].kept)


def assert_parted(
    request: GenerationRequest,
    place: int,
    here: tuple[int, Mapping[int, float]],
    there: tuple[int, Mapping[int, float]],
) -> None:
    """The number of this place draws either token of its own side's chances, and these are the same
    but for what logprobs are apart: nothing else made the texts part."""
    settings = request.sampling.settings
    number = generator(settings, len(request.prompt) + place, request.choice).random()
    for id, chances in (here, there):
        ids = sorted(chances)
        assert ids[drawn_place(np.array([chances[each] for each in ids]), number)] == id
    (_, ours), (_, theirs) = here, there
    both = ours.keys() & theirs.keys()
    ratios = np.log([ours[id] / theirs[id] for id in both])
    # A temperature of a quarter makes four times as much of it. All of one side's may be larger,
    # where a candidate at the border of what is kept is not in it.
    assert np.ptp(ratios) < 2 * NATS / min(settings.temperature, 1.0)
    for side in (ours, theirs):
        assert sum(p for id, p in side.items() if id not in both) < NATS * 10
