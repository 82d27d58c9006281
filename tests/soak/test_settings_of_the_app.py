"""Every setting of the app at the ends of its range: it weaves, writes a token, and plays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llterm.config import Config, Ui
from llterm.config.schema import UI
from llterm.config.setting import Setting
from tests.helpers.driven_app import Start
from tests.helpers.extremes import extremes

pytestmark = pytest.mark.soak


@pytest.mark.parametrize("row", UI, ids=[row.name for row in UI])
async def test_the_app_at_the_ends_of_a_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: Setting
) -> None:
    for number, value in enumerate(extremes(row)):
        folder = tmp_path / str(number)
        folder.mkdir()
        for name in ("CONFIG", "DATA", "STATE"):
            monkeypatch.setenv(f"LLTERM_{name}_DIR", str(folder / name.lower()))
        own: dict[str, Any] = {row.name: value}
        start = Start(folder, config=Config(ui=replace(Ui(), **own)))
        async with start() as at:
            await at.weave()
            before = at.story
            await at.press("ctrl+d")
            await at.until(lambda at=at, before=before: at.story != before)  # type: ignore[misc]
            await at.press("ctrl+backslash", "ctrl+backslash")
            assert at.app.return_code is None
