"""The random numbers of a seed's places, without a generator for each."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llterm.core.sampling.ladder import generator
from llterm.core.sampling.pcg64 import pcg64_numbers
from llterm.core.sampling.random_generators import RandomGenerators
from llterm.core.sampling.sampler_settings import SamplerSettings

words = st.integers(0, 2**32 - 1)


@given(st.lists(st.tuples(words, words, words), min_size=1, max_size=20), st.integers(1, 3))
def test_they_are_the_numbers_that_numpys_own_generator_draws_first(
    seeds: list[tuple[int, int, int]], count: int
) -> None:
    numbers = pcg64_numbers(np.array(seeds).T, count).T.tolist()
    assert numbers == [np.random.default_rng(seed).random(count).tolist() for seed in seeds]


@given(
    st.lists(
        st.tuples(st.integers(0, 2**40), st.integers(0, 200), st.integers(0, 3)),
        min_size=1,
        max_size=20,
    ),
    st.integers(1, 4),
)
def test_a_place_has_the_same_numbers_however_it_was_reached(
    places: list[tuple[int, int, int]], count: int
) -> None:
    numbers = RandomGenerators()
    for seed, place, line in places:
        settings = SamplerSettings(seed=seed)
        (chance,) = numbers.of([(settings, place, line)])
        expected = generator(settings, place, line).random(count).tolist()
        assert [chance() for _ in range(count)] == expected
        chance.begin_anew()
        assert [chance() for _ in range(count)] == expected
