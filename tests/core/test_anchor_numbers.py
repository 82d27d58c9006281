"""Numbers by which anchors are told apart where they cannot be seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llterm.core.anchor_numbers import AnchorNumbers
from llterm.core.tokens import Anchor


@given(st.integers(1, 5), st.lists(st.integers(0, 7)))
def test_a_number_means_one_anchor_and_those_asked_for_last_keep_theirs(
    most: int, asked: list[int]
) -> None:
    anchors = [Anchor((1, 2)) for _ in range(8)]
    numbers = AnchorNumbers(most)
    meant: dict[int, int] = {}
    latest: list[int] = []
    known: dict[int, int] = {}
    for each in asked:
        number = numbers.of(anchors[each])
        assert meant.setdefault(number, each) == each
        if each in latest[-most:]:
            assert number == known[each]
        known[each] = number
        latest = [*(other for other in latest if other != each), each]
