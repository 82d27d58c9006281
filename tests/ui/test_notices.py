"""Notices: where they stand, and how they go."""

from __future__ import annotations

from functools import partial
from typing import Any

from textual.geometry import Region
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets._toast import Toast

from llterm.ui.dialogs.help_dialog import HelpDialog
from llterm.ui.loom.loom_screen import LoomScreen
from llterm.ui.mix.mix_screen import MixScreen
from llterm.ui.notice_place import KEPT
from llterm.ui.weave.weave_screen import WeaveScreen
from tests.helpers.driven_app import STORY, Start


async def test_esc_takes_notices_away_and_does_what_it_does_without_them(start: Start) -> None:
    async with start(STORY) as at:
        await at.weave()
        await at.press("f1")
        await at.opened(HelpDialog)
        at.app.notify("first")
        at.app.notify("second")
        await at.until(lambda: len(at.notices) == 2)
        await at.press("escape")
        await at.until(lambda: at.app.screen is at.main)
        assert not at.notices
        assert at.main.editor.ghost


async def test_notices_cover_neither_keys_nor_charts(start: Start) -> None:
    async with start(STORY) as at:
        await at.weave()
        at.app.notify("What was asked for cannot be done. " * 3, title="A title", timeout=60)
        await at.until(lambda: at.notices)
        opening: dict[str, type[Screen[Any]]] = {
            "": WeaveScreen,
            "f1": HelpDialog,
            "alt+x": MixScreen,
            "alt+l": LoomScreen,
        }
        for key, kind in opening.items():
            await at.press(*filter(None, [key]))
            screen = await at.opened(kind)
            for size in ((60, 15), (80, 24)):
                await at.pilot.resize_terminal(*size)
                await at.until(partial(placed, screen))
                assert [shown.height for shown in notices(screen)] == [5]
            if screen is not at.main:
                screen.dismiss(None)
                await at.opened(WeaveScreen)


def placed(screen: Screen[Any]) -> bool:
    return bool(notices(screen)) and not covered(screen)


def notices(screen: Screen[Any]) -> list[Region]:
    return [screen.find_widget(toast).visible_region for toast in screen.query(Toast)]


def covered(screen: Screen[Any]) -> list[Widget]:
    """What notices lie on and should not."""
    return [
        widget
        for shown in notices(screen)
        for widget in screen.query(KEPT)
        if widget.region.overlaps(shown)
    ]
