"""Many ways to write in the middle of a story, one after the other: the rest stays to the byte."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.mid_story import WAYS, walk
from tests.helpers.soak_rounds import rounds

pytestmark = pytest.mark.soak


@settings(max_examples=rounds(100))
@given(st.lists(st.sampled_from(WAYS), min_size=4, max_size=30))
def test_long_walks_in_the_middle_keep_the_rest_to_the_byte(ways: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(walk(Path(folder) / "mid.loom", ways))
