"""A text that is shown while it comes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from llterm.core.held_text import HeldText

LETTERS = st.text("ab é\n😀", max_size=30)
STOPS = st.lists(st.text("ab é😀", min_size=1, max_size=4), max_size=3)


def streamed(parts: Sequence[bytes], stops: Sequence[str], *, stop_shown: bool = False) -> str:
    held = HeldText(stops, stop_shown=stop_shown)
    shown = "".join([held.add(part) for part in parts])
    return shown + held.rest()


def expected(text: str, stops: Sequence[str], *, stop_shown: bool = False) -> str:
    """Letter by letter: the first end of a stop text, and of those the longest."""
    for end in range(len(text) + 1):
        ended = [stop for stop in stops if text[:end].endswith(stop)]
        if ended:
            return text[:end] if stop_shown else text[: end - max(map(len, ended))]
    return text


@given(text=LETTERS, stops=STOPS, cuts=st.lists(st.integers(0, 120)), shown=st.booleans())
def test_what_is_streamed_is_what_comes_at_once(
    text: str, stops: list[str], cuts: list[int], shown: bool
) -> None:
    data = text.encode()
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    parts = [data[a:b] for a, b in pairwise(places)]
    wanted = expected(text, stops, stop_shown=shown)
    assert streamed(parts, stops, stop_shown=shown) == wanted
    assert streamed([data], stops, stop_shown=shown) == wanted


@given(data=st.binary(max_size=20))
def test_bytes_that_are_no_text_are_stand_ins_however_they_come(data: bytes) -> None:
    assert streamed([bytes([byte]) for byte in data], ()) == data.decode("utf-8", "replace")


@given(text=LETTERS, stops=STOPS.filter(bool))
def test_no_part_that_is_shown_holds_a_stop_text(text: str, stops: list[str]) -> None:
    held = HeldText(stops)
    shown = ""
    for letter in text:
        shown += held.add(letter.encode())
        assert not any(stop in shown for stop in stops)


def test_a_stop_text_counts_only_where_it_begins_after_what_does_not_count() -> None:
    held = HeldText(["end"])
    assert held.add(b"the end, the e", counts=False) == "the end, the e"
    assert held.add(b"nd") == "nd"
    assert held.add(b" end") == " "
    assert held.stop == "end"
    assert held.add(b" more") == held.rest() == ""
