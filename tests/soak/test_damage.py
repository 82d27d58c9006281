"""The app goes on after each further thing that can become of the loom's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.store import harms
from tests.ui.conftest import Start, home, start
from tests.ui.test_damage import go_on_and_keep, patience

pytestmark = pytest.mark.soak

__all__ = ["home", "patience", "start"]


@pytest.mark.parametrize(
    "harm",
    [
        harms.cut_off, harms.garbage, harms.unlinked, harms.replaced,
        harms.rows_that_make_no_sense, harms.stick_pulled_out,
    ],
)  # fmt: skip
async def test_everything_goes_on_and_is_kept(start: Start, home: Path, harm: harms.Harm) -> None:
    await go_on_and_keep(start, home, harm)
