"""The first random numbers of a seed, without a generator for each."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llterm.core.sampling.first_numbers import first_numbers

words = st.integers(0, 2**32 - 1)


@given(st.lists(st.tuples(words, words, words), min_size=1, max_size=20), st.integers(1, 3))
def test_they_are_the_numbers_that_numpys_own_generator_draws_first(
    seeds: list[tuple[int, int, int]], count: int
) -> None:
    numbers = first_numbers(np.array(seeds).T, count).T.tolist()
    assert numbers == [np.random.default_rng(seed).random(count).tolist() for seed in seeds]
