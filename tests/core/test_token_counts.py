"""Counts of the newest tokens, kept from one token to the next."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from llterm.core.sampling.token_counts import TokenCounts


@given(
    st.lists(st.integers(0, 200), max_size=150),
    st.lists(st.integers(0, 200), max_size=150),
    st.sampled_from([-1, 0, 1, 3, 64]),
)
def test_each_of_the_newest_tokens_is_counted(
    before: list[int], drawn: list[int], newest: int
) -> None:
    counted = TokenCounts(before, newest)
    for id in drawn:
        counted.add(id)
    text = before + drawn
    expected = text if newest < 0 else text[max(len(text) - newest, 0) :]
    counts = dict(zip(counted.ids.tolist(), counted.times.tolist(), strict=True))
    assert counts == Counter(expected)
