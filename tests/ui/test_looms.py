"""The list of looms, export and import, and the first moments of the app, by keys."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from textual.widgets import Input, OptionList

from llterm.errors import LltermError
from llterm.formats import png
from llterm.session import looms
from llterm.session.document import Document
from llterm.session.stories import STORIES
from llterm.ui.dialogs.export_dialog import ExportDialog
from llterm.ui.dialogs.looms_dialog import LoomsDialog
from tests.helpers.driven_app import STORY, Driven, Start, prompts
from tests.helpers.hostile_looms import change


def make(folder: Path, name: str, text: bytes) -> Path:
    path = folder / f"{name}.loom"
    Document.create(path, text).close()
    looms.remember(path)
    return path


async def listed(at: Driven) -> OptionList:
    """Open the list, and wait until it is filled."""
    await at.press("alt+o")
    screen = await at.opened(LoomsDialog)
    options = screen.query_one(OptionList)
    await at.until(lambda: options.option_count)
    return options


async def test_another_loom_is_opened(start: Start, home: Path) -> None:
    other = make(home, "fox", b"The red fox")
    async with start() as at:
        options = await listed(at)
        index = next(n for n, line in enumerate(prompts(options)) if "fox" in line)
        assert "The red fox" in prompts(options)[index]
        for _ in range(index):
            await at.press("j")
        await at.press("enter")
        assert at.app.following is not None
        assert at.app.following.path == other


async def test_a_starting_story_is_begun(start: Start) -> None:
    async with start() as at:
        options = await listed(at)
        index = next(n for n, line in enumerate(prompts(options)) if STORIES[1].title in line)
        for _ in range(index):
            await at.press("down")
        await at.press("enter")
        assert at.app.following is not None
        assert at.app.following.path is None
        assert at.app.following.text == STORIES[1].text.encode()


async def test_a_start_without_a_file_offers_the_looms_there_are(start: Start, home: Path) -> None:
    start.offer = True
    async with start() as at:
        assert at.app.screen is at.main
    make(home, "fox", b"The red fox")
    async with start() as at:
        await at.opened(LoomsDialog)
        options = at.app.screen.query_one(OptionList)
        await at.until(lambda: options.option_count)
        assert "fox" in prompts(options)[0]
        await at.press("n")
        assert at.app.screen is at.main
        assert at.app.following is None


async def test_rename_duplicate_delete_and_back(start: Start, home: Path) -> None:
    fox = make(home, "fox", b"The red fox")
    async with start() as at:
        options = await listed(at)
        before = fox.read_bytes()

        async def shows(text: str, shown: bool = True) -> None:
            await at.until(lambda: any(f" {text} " in line for line in prompts(options)) == shown)

        await at.press("home", "r", "end", *" two", "enter")
        await shows("fox two")
        await at.press("home", "c")
        await shows("fox two copy")
        named = next(n for n, line in enumerate(prompts(options)) if " fox two  " in line)
        options.highlighted = named
        await at.press("d")
        await at.until(lambda: not (home / "fox two.loom").exists())
        await at.press("u")
        await at.until(lambda: (home / "fox two.loom").exists())
        assert (home / "fox two.loom").read_bytes() == before


async def test_the_loom_that_is_open_is_not_deleted(start: Start) -> None:
    async with start() as at:
        path = at.session.document.path
        assert path is not None
        looms.remember(path)
        await listed(at)
        await at.press("d")
        await at.until(lambda: at.notices)
        assert path.exists()


@pytest.mark.parametrize(
    ("format", "name", "begins"),
    [
        ("markdown", "cat.md", b""),
        ("html", "cat.html", b"<!doctype html>"),
        ("svg", "cat.svg", b"<svg"),
        ("png", "cat.png", b"\x89PNG"),
    ],
)
async def test_an_export_is_written_beside_the_loom(
    start: Start,
    home: Path,
    format: str,
    name: str,
    begins: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Which fonts this machine has is nothing to this.
    monkeypatch.setattr(png, "first_font", lambda families: families[0])
    async with start() as at:
        await at.press("!")
        await at.press("alt+e")
        screen = await at.opened(ExportDialog)
        options = screen.query_one(OptionList)
        options.highlighted = next(n for n, one in enumerate(prompts(options)) if format in one)
        await at.pilot.pause()
        await at.press("enter")
        await at.until(lambda: (home / name).exists())
        data = (home / name).read_bytes()
        assert data.startswith(begins)


async def test_an_export_overwrites_nothing(start: Start, home: Path) -> None:
    (home / "mine.txt").write_text("mine")
    async with start() as at:
        await at.press("alt+e", "tab")
        entry = at.app.screen.query_one(Input)
        entry.value = str(home / "mine.txt")
        await at.press("enter")
        await at.until(lambda: at.notices)
        assert (home / "mine.txt").read_text() == "mine"


async def test_the_loom_is_saved_elsewhere_with_its_history(start: Start, home: Path) -> None:
    async with start() as at:
        await at.press("!")
        await at.press("alt+e", "end", "enter")
        await at.until(lambda: (home / "cat copy.loom").exists())
        assert not at.session.document.read_only
    copy = Document.open(home / "cat copy.loom")
    assert copy.text == f"{STORY}!"
    copy.undo()
    assert copy.text == STORY
    copy.close()


def fill_disk(document: Document) -> None:
    """From now on SQLite is told that there is no room for the file to grow."""
    document.undo_log.flush()
    database = sqlite3.connect(document.path or "")
    (pages,) = database.execute("pragma page_count").fetchone()
    database.close()
    file = document.undo_log.file
    assert file is not None
    file.database.execute(f"pragma max_page_count = {pages}")


def told(at: Driven) -> list[str]:
    return [one.title for one in at.notices]


PAGE = "word " * 4000
"""More than what is free in the last page of a file."""


async def test_a_full_disk_is_said_once_and_the_story_stays(start: Start, home: Path) -> None:
    async with start() as at:
        fill_disk(at.session.document)
        at.main.editor.insert(PAGE)
        await at.until(lambda: told(at))
        for _ in range(3):
            at.main.save()
        assert told(at) == ["The story could not be saved"]
        assert "NOT SAVED" in at.line("name")
        assert at.story == STORY + PAGE
        await at.press("alt+e", "end", "enter")
        await at.until(lambda: (home / "cat copy.loom").exists())
        # There is room again: nothing has to be done.
        file = at.session.document.undo_log.file
        assert file is not None
        file.database.execute("pragma max_page_count = 1073741823")
        await at.until(lambda: "NOT SAVED" not in at.line("name"))
    for name in ("cat copy.loom", "cat.loom"):
        copy = Document.open(home / name)
        assert copy.text == STORY + PAGE
        copy.close()


async def test_what_cannot_be_saved_is_not_quit_at_once_and_then_rescued(
    start: Start, home: Path
) -> None:
    async def quit_twice() -> None:
        async with start() as at:
            fill_disk(at.session.document)
            at.main.editor.insert(PAGE)
            await at.press("ctrl+q")
            assert at.app.is_running
            await at.until(lambda: "The story is not saved" in told(at))
            await at.press("ctrl+q")
            await at.until(lambda: not at.app.is_running)

    with pytest.raises(LltermError, match="could not be saved") as caught:
        await quit_twice()
    rescued = home / "data" / "looms" / "cat rescued.loom"
    assert str(rescued) in caught.value.hint
    copy = Document.open(rescued)
    assert copy.text == STORY + PAGE
    copy.undo()
    assert copy.text == STORY
    copy.close()
    begun = Document.open(home / "cat.loom")
    assert begun.text == STORY
    begun.close()


async def test_a_second_llterm_is_told_and_writes_nothing(start: Start, home: Path) -> None:
    first = Document.create(home / "cat.loom", STORY.encode())
    async with start() as at:
        assert told(at) == ["Read-only"]
        assert "read-only" in at.line("name")
        await at.press(*"abc")
        assert at.story == STORY
        await at.press("alt+e", "end", "enter")
        await at.until(lambda: (home / "cat copy.loom").exists())
    first.edit(0, 0, "x")
    first.close()


async def test_looms_that_lie_are_in_the_list_and_the_app_goes_on(start: Start, home: Path) -> None:
    bad = make(home, "ring", b"A ring")
    change(bad, "update node set parent = id")
    async with start() as at:
        options = await listed(at)
        assert any("damaged" in line for line in prompts(options) if "ring" in line)
        await at.press("escape")
        at.main.editor.insert(" sat")
        assert at.story == STORY + " sat"


async def test_damage_that_opening_does_not_need_is_told(start: Start, home: Path) -> None:
    Document.create(home / "cat.loom", STORY.encode()).close()
    change(home / "cat.loom", "update piece set overlap = 9e999")
    async with start() as at:
        assert at.story == STORY
        (said,) = at.notices
        assert said.title == "Damaged"
        assert "llterm doctor" in said.message


async def test_a_file_of_another_program_is_imported_and_gone_on_with(
    start: Start, home: Path
) -> None:
    (home / "old.txt").write_text("An old story.")
    async with start() as at:
        await at.press("alt+i", *str(home / "old.txt"), "enter")
        assert at.app.following is not None
        assert at.app.following.path == home / "old.loom"
    document = Document.open(home / "old.loom")
    assert document.text == "An old story."
    document.close()


async def test_a_broken_file_is_told_with_its_place(start: Start, home: Path) -> None:
    (home / "broken.json").write_text('{"a": [1,')
    async with start() as at:
        await at.press("alt+i", *str(home / "broken.json"), "enter")
        await at.until(lambda: at.notices)
        assert at.app.following is None
    assert not (home / "broken.loom").exists()


async def test_a_model_that_is_ready_at_once_waits_for_the_screen(start: Start) -> None:
    """The scripted model may be there before the first pane is."""
    start.auto_weave = True
    async with start(ready=False) as at:
        mounted = at.main.ready
        await at.until(lambda: at.main.suggestions.rows)
        assert mounted.is_set()
        assert not at.app.faulty
