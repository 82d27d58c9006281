"""At 80 × 24 nothing on a screen or in a dialog is cut without saying so."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from textual.screen import Screen
from textual.widget import Widget

import llterm.ui
from llterm.ui.dialogs.dialog import Dialog
from llterm.ui.dialogs.former_bans_dialog import FormerBansDialog
from llterm.ui.dialogs.sentences_dialog import SentencesDialog, WriteIn
from llterm.ui.keyed_screen import KeyedScreen
from llterm.ui.loom.loom_screen import LoomScreen
from llterm.ui.widgets.fields import Field
from llterm.ui.widgets.key_line import KeyLine
from tests.helpers.driven_app import Start, drawn, home, start

__all__ = ["home", "start"]

pytestmark = pytest.mark.soak

OPENING = (
    "weave.sentences", "weave.classify", "suggestion.edit", "heat.inspect", "heat.write",
    "heat.attribute", "app.stories", "app.keep_story", "weave.constrain", "app.loom",
    "app.looms", "app.export", "app.import", "app.mix", "app.models",
    "app.chat", "app.prefix", "app.sampling", "app.settings", "app.palette", "app.help",
    "app.log", "edit.find",
)  # fmt: skip


IN_LOOM = (
    "loom.alternative",
    "loom.note",
    "loom.split",
    "loom.compare",
    "loom.compare",
    "edit.find",
)


def written(widget: Widget) -> str:
    """All that a widget has to say."""
    if isinstance(widget, Field):
        return widget.value or widget.placeholder
    return widget.hints if isinstance(widget, KeyLine) else str(widget.render())


def cut(screen: Screen[Any]) -> Iterator[str]:
    """What is cut in it without an ellipsis. What can be scrolled to is not."""
    lines = drawn(screen)
    for widget in screen.query("Static, StatusLine, Field, KeyLine"):
        around = [one for one in widget.ancestors_with_self if isinstance(one, Widget)]
        if not widget.region or any(one.max_scroll_y for one in around):
            continue
        shown = widget.region
        seen = " ".join(line[shown.x : shown.right] for line in lines[shown.y : shown.bottom])
        if "…" not in seen and "".join(written(widget).split()) not in "".join(seen.split()):
            yield f"{screen!r} {widget!r}: {written(widget)!r} is seen as {seen!r}"


async def test_nothing_is_cut_in_silence(start: Start) -> None:
    async with start() as at:
        await at.weave()
        await at.press("tab", "f4")
        cuts, opened = list[str](), set[str]()

        async def look(screen: KeyedScreen, ids: Sequence[str]) -> None:
            for id in ids:
                screen.action_run(id)
                await at.until(lambda: not at.app.gate.busy)
                at.app.clear_notifications()
                await at.pilot.pause()
                cuts.extend(cut(at.app.screen))
                opened.add(type(at.app.screen).__name__)
                if isinstance(at.app.screen, LoomScreen) and screen is at.main:
                    await look(at.app.screen, IN_LOOM)
                if isinstance(at.app.screen, SentencesDialog):
                    at.app.screen.action_write()
                    await at.opened(WriteIn)
                    cuts.extend(cut(at.app.screen))
                    opened.add(WriteIn.__name__)
                    at.app.screen.dismiss(None)
                    await at.opened(SentencesDialog)
                if at.app.screen is not screen:
                    at.app.screen.dismiss(None)
                    await at.until(lambda: at.app.screen is screen)

        await look(at.main, OPENING)
        at.app.push_screen(FormerBansDialog(["ban 'lamp'"]))
        await at.opened(FormerBansDialog)
        cuts.extend(cut(at.app.screen))
        opened.add(FormerBansDialog.__name__)
    assert not cuts, "\n".join(cuts)
    for module in pkgutil.walk_packages(llterm.ui.__path__, "llterm.ui."):
        importlib.import_module(module.name)
    assert {one.__name__ for one in dialogs(Dialog)} - opened <= {"ServerDialog"}


def dialogs(base: type[Any]) -> set[type[Any]]:
    """What is derived from it, and nothing from that: what is really opened."""
    derived: list[type[Any]] = base.__subclasses__()
    return {kind for one in derived for kind in dialogs(one)} or {base}
