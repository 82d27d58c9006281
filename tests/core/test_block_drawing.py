"""Drawing from many rows at once: what is drawn is what each whole row gives."""

from __future__ import annotations

from hypothesis import given

from tests.helpers.drawn_rows import Rows, any_rows, one_by_one, together


@given(any_rows())
def test_what_is_drawn_together_is_what_each_whole_row_gives(rows: Rows) -> None:
    assert together(rows) == one_by_one(rows)
