"""Export and import from the app: what goes wrong is a notice, and the app goes on."""

from __future__ import annotations

import json

import pytest
from textual.widgets import Input

from llterm.formats import plain_text
from llterm.session.document import Document
from llterm.ui.dialogs.export_dialog import ExportDialog
from llterm.ui.dialogs.text_dialogs import AskLine
from llterm.ui.loom.loom_screen import LoomScreen
from tests.helpers import foreign_files
from tests.helpers.driven_app import Driven, Start


@pytest.fixture
def cat(start: Start) -> Start:
    Document.create(start.folder / "cat.loom", b"The cat").close()
    return start


def told(at: Driven) -> str:
    """The notices there are."""
    return "\n".join(f"{one.title}: {one.message}" for one in at.notices)


async def imported(at: Driven, path: str) -> None:
    await at.press("alt+i")
    await at.opened(AskLine)
    at.app.screen.query_one(Input).value = path
    await at.press("enter")


async def test_an_export_that_fails_by_our_fault_says_so(
    cat: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(plain_text, "write_text", broken)
    async with cat() as at:
        await at.press("alt+e")
        await at.opened(ExportDialog)
        await at.press("enter")
        await at.until(lambda: "fault of llterm's own" in told(at))
        assert "ZeroDivisionError: a fault" in told(at)
        assert sorted(one.name for one in cat.folder.iterdir()) == ["cat.loom"]
        await at.press("x")
        assert "x" in at.story


async def test_a_file_that_no_loom_can_hold_is_refused_with_its_place(cat: Start) -> None:
    bad = {**foreign_files.LOGITLOOM, "roots": [{"text": "a", "logprob": 1e300, "children": []}]}
    (cat.folder / "bad.ll.json").write_text(json.dumps(bad))
    async with cat() as at:
        await imported(at, str(cat.folder / "bad.ll.json"))
        await at.until(lambda: "roots[0].logprob is 1e+300" in told(at))
        assert not (cat.folder / "bad.loom").exists()
        assert at.story == "The cat"


async def test_half_an_emoji_is_imported_and_its_loom_and_map_are_drawn(cat: Start) -> None:
    """The app goes on with the loom that it made, and says what was left out."""
    nodes = [{"id": 1, "parentIds": [], "text": "Once \ud83d", "model": "\udc00"},
             {"id": 2, "parentIds": [7], "text": " upon"}]  # fmt: skip
    (cat.folder / "half.json").write_text(json.dumps({"nodes": nodes}))
    async with cat() as at:
        await imported(at, str(cat.folder / "half.json"))
        await at.until(lambda: at.app.following is not None)
        assert at.app.following is not None
        assert at.app.following.config.notices == (
            "1 node under the root now: the parent is not in the file.",
        )
    (cat.folder / "half.loom").replace(cat.folder / "cat.loom")
    async with cat() as at:
        await at.press("alt+l")
        await at.opened(LoomScreen)
        for _ in ("the map", "the outline"):
            screen = await at.opened(LoomScreen)
            assert "Once" in "".join(screen.view.render_line(y).text for y in range(3))
            await at.press("m")
