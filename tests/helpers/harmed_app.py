"""The app while its loom's file is harmed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from llterm.errors import LltermError
from llterm.session.document import Document
from llterm.ui.dialogs.inspector_dialog import InspectorDialog
from llterm.ui.loom.loom_screen import LoomScreen
from tests.helpers.document_edits import model_run
from tests.helpers.driven_app import STORY, Driven, Start
from tests.helpers.file_harms import Harm

EXPORTED = {"cat.txt": ["home"], "cat.html": ["down", "down"], "cat copy.loom": ["end"]}
PAGE = 6
"""Steps read from the file at once: a few, so that undoing comes to the unread ones soon."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llterm.session.reader.PATIENCE", 0.0)
    for module in ("core.history", "store.file"):
        monkeypatch.setattr(f"llterm.{module}.PAGE", PAGE)


def told(at: Driven) -> list[str]:
    return [one.title for one in at.notices]


async def leave(at: Driven, *keys: str) -> None:
    """Press keys where Esc is not to be taken for that of a notice."""
    for key in keys:
        at.app.clear_notifications()
        await at.press(key)


async def go_on_and_keep(start: Start, home: Path, harm: Harm) -> None:
    """Go through what reads the file late, save in three ways, quit: all of it is there."""
    document = Document.create(home / "cat.loom", STORY.encode())
    for number in range(PAGE + 5):
        document.accept(replace(model_run(b" w%d" % number)), len(document.text))
    document.close()

    async def write() -> None:
        async with start() as at:
            file = at.session.document.undo_log.file
            assert file is not None
            harm(home / "cat.loom", file)
            await at.press("space", *"later")
            for _ in range(PAGE + 4):
                at.main.action_run("edit.undo")
            at.main.action_run("edit.redo")
            await at.press("x", "f4")
            await at.until(lambda: at.session.reader.places and not at.session.reader.waiting)
            await at.until(lambda: at.main.heat.reading is not None)
            await at.press("i")
            await at.until(lambda: isinstance(at.app.screen, InspectorDialog))
            await leave(at, "escape", "escape", "alt+l")
            await at.until(lambda: isinstance(at.app.screen, LoomScreen))
            await leave(at, "home", "w", "down", "w", "i", "escape", "g", "escape", "end", "escape")
            await at.until(lambda: at.app.screen is at.main)
            for name, keys in EXPORTED.items():
                await at.press("alt+e", *keys, "enter")
                await at.until((home / name).exists)
            await at.press("ctrl+s", "ctrl+q")
            if at.app.is_running:
                assert "The story is not saved" in told(at)
                await at.press("ctrl+q")
            await at.until(lambda: not at.app.is_running)
            texts.append(at.story)

    texts: list[str] = []
    try:
        await write()
    except LltermError as error:
        target = home / "data" / "looms" / "cat rescued.loom"
        assert str(target) in error.hint  # noqa: PT017
    else:
        target = home / "cat.loom"
    copy = Document.open(target)
    assert [copy.text] == texts
    copy.close()
