"""The first random number of a seed, without a generator for each."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from llterm.core.sampling.first_numbers import first_numbers

words = st.integers(0, 2**32 - 1)


@given(st.lists(st.tuples(words, words, words), min_size=1, max_size=20))
def test_it_is_the_number_that_numpys_own_generator_draws_first(
    seeds: list[tuple[int, int, int]],
) -> None:
    assert first_numbers(seeds) == [np.random.default_rng(seed).random() for seed in seeds]
