"""Dialogs on their way out: what works for them has no widgets left to show anything in."""

from __future__ import annotations

import asyncio

import pytest
from textual.app import ComposeResult
from textual.widgets import OptionList

from llterm.ui.dialogs.dialog import ListDialog
from tests.helpers.driven_app import Start


class Held(ListDialog[None]):
    """What works for it wakes up when its list goes."""

    TITLE = "Held"

    def __init__(self) -> None:
        super().__init__()
        self.going = asyncio.Event()
        self.acted = False

    def body(self) -> ComposeResult:
        yield Going(self.going)

    def on_mount(self) -> None:
        self.run_worker(self._act())

    async def _act(self) -> None:
        await self.going.wait()
        self.acted = True
        self.options.focus()


class Going(OptionList):
    def __init__(self, going: asyncio.Event) -> None:
        super().__init__()
        self._going = going

    async def on_unmount(self) -> None:
        self._going.set()
        for _ in range(9):
            await asyncio.sleep(0)


@pytest.mark.parametrize("way", ["closed", "app ended"])
async def test_what_works_for_a_dialog_ends_before_its_widgets_go(start: Start, way: str) -> None:
    dialog = Held()
    async with start() as at:
        await at.app.push_screen(dialog)
        await at.until(lambda: dialog.workers)
        if way == "closed":
            await at.press("escape")
            await at.until(lambda: at.app.screen is at.main)
    assert dialog.going.is_set()
    assert not dialog.acted
