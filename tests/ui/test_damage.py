"""The loom's file is harmed while the app has it open: the work goes on, and is kept."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.driven_app import Start
from tests.helpers.file_harms import truncated
from tests.helpers.harmed_app import go_on_and_keep


async def test_everything_goes_on_and_is_kept(start: Start, home: Path) -> None:
    await go_on_and_keep(start, home, truncated)
