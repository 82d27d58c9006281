"""A thousand chains that draw from many rows at once, as from each whole row."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from tests.helpers.drawn_rows import Rows, any_rows, assert_alike

pytestmark = pytest.mark.soak


@settings(max_examples=1000)
@given(any_rows())
def test_a_thousand_chains_draw_what_each_whole_row_gives(rows: Rows) -> None:
    assert_alike(rows)
