"""Windows over a long text: every token once, with enough before it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from llterm.core.windows import halves, overlapping


@given(count=st.integers(0, 200), size=st.integers(1, 40), data=st.data())
def test_overlapping_windows_score_every_token_once(
    count: int, size: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, size))
    windows = list(overlapping(count, size, stride))
    scored = [index for one in windows for index in range(one.first, one.end)]
    assert scored == list(range(count))
    for one in windows:
        assert 0 <= one.begin <= one.first <= one.end
        assert one.end - one.begin <= size
        assert one.first == 0 or one.first - one.begin >= size - stride


@given(count=st.integers(0, 200), size=st.integers(4, 40))
def test_halves_are_llama_cpps(count: int, size: int) -> None:
    windows = list(halves(count, size))
    assert len(windows) == count // size
    for number, one in enumerate(windows):
        assert (one.begin, one.end) == (number * size, (number + 1) * size)
        assert one.end - one.first == size - size // 2 - 1
