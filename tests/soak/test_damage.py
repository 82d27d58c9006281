"""The app goes on after each further thing that can become of the loom's file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import file_harms
from tests.helpers.driven_app import Start, home, start
from tests.helpers.harmed_app import go_on_and_keep, patience

pytestmark = pytest.mark.soak

__all__ = ["home", "patience", "start"]


@pytest.mark.parametrize(
    "harm",
    [
        file_harms.cut_off, file_harms.garbage, file_harms.unlinked, file_harms.replaced,
        file_harms.rows_that_make_no_sense, file_harms.stick_pulled_out,
    ],
)  # fmt: skip
async def test_everything_goes_on_and_is_kept(
    start: Start, home: Path, harm: file_harms.Harm
) -> None:
    await go_on_and_keep(start, home, harm)
