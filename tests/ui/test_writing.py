"""Writing in the editor: the document is the truth, and the screen shows exactly it."""

from __future__ import annotations

import stat
from contextlib import nullcontext
from pathlib import Path

import pytest

from llterm.session.manuscript import difference
from llterm.ui.llterm_app import LltermApp
from llterm.ui.widgets.find_bar import occurrences
from tests.helpers.driven_app import STORY, Start

HOSTILE = (
    b"safe \x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b31m \xc2\x9b31m "
    b"\xe2\x80\xaeover\xe2\x80\xac [red]markup[/] [@click=app.quit]go[/] \xff\xfe end"
)


async def test_kill_keys_paste_and_undo_keep_editor_and_document_alike(start: Start) -> None:
    async with start("one\ntwo three\nfour") as at:
        for keys in (
            ("ctrl+w",), ("x", "enter", "y"), ("ctrl+u",), ("up", "ctrl+shift+k"),
            ("home", "shift+end", "ctrl+x"), ("z",), ("delete", "backspace"),
        ):  # fmt: skip
            await at.press(*keys)
            assert at.main.editor.text == at.story
            assert at.main.editor.offset_of_cursor == at.session.document.cursor
        while at.session.document.undo_label:
            await at.press("ctrl+z")
            assert at.main.editor.text == at.story
        assert at.story == "one\ntwo three\nfour"


async def test_a_large_paste_is_one_edit(start: Start) -> None:
    from textual import events

    async with start("") as at:
        text = "A line of a long story that someone wrote before.\r\n" * 2000
        at.app.post_message(events.Paste(text))
        await at.until(lambda: at.story)
        assert at.story == text.replace("\r\n", "\n")
        assert at.main.editor.text == at.story
        await at.press("ctrl+z")
        assert at.story == ""


async def test_nothing_from_a_file_reaches_the_screen_but_inert_text(start: Start) -> None:
    async with start(HOSTILE) as at:
        shown = "".join(
            segment.text
            for y in range(at.main.editor.size.height)
            for segment in at.main.editor.render_line(y)
        )
        assert "[red]markup[/]" in shown.replace(" ", "").replace("\n", "") or "[red]" in shown
        for text in (shown, at.main.editor.text, at.app.export_screenshot()):
            assert not set("\x1b\x9b\u202e\x07") & set(text)
        await at.press("backspace", "backspace", "backspace")
        assert at.session.document.bytes_before(10**6) == HOSTILE[:-3], "other bytes are kept"


async def test_the_cursor_and_the_text_are_there_after_a_restart(start: Start) -> None:
    async with start() as at:
        await at.press("!", "left", "left", "left")
        cursor = at.main.editor.offset_of_cursor
    async with start() as at:
        assert at.story == STORY + "!"
        assert at.main.editor.offset_of_cursor == cursor


async def test_typing_is_saved_by_itself(start: Start, tmp_path: Path) -> None:
    import sqlite3

    async with start() as at:
        await at.press("Q")
        await at.until(lambda: not at.session.document.undo_log.pending)
        with sqlite3.connect(f"file:{tmp_path / 'cat.loom'}?mode=ro", uri=True) as file:
            assert any(b"Q" in bytes(row[0]) for row in file.execute("select data from piece"))


async def test_find_steps_through_all_places(start: Start) -> None:
    async with start("The cat saw a cat. Cat!") as at:
        await at.press("ctrl+home", "ctrl+f", "c", "a", "t")
        assert at.line("places") == "1 of 3"
        places = []
        for key in ("enter", "down", "enter", "up"):
            await at.press(key)
            places.append(at.main.editor.offset_of_cursor)
        assert places == [14, 19, 4, 19]
        await at.press("x")
        assert at.line("places") == "nothing found"
        await at.press("escape")
        assert at.main.editor.has_focus
        assert at.story == "The cat saw a cat. Cat!"


def test_capitals_count_in_a_search_that_has_some() -> None:
    assert occurrences("Cat cat CAT", "cat") == [0, 4, 8]
    assert occurrences("Cat cat CAT", "Cat") == [0]
    assert occurrences("aaaa", "aa") == [0, 2]
    assert occurrences("x", "") == []


def _editor(folder: Path, script: str) -> str:
    path = folder / "editor.sh"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


@pytest.fixture
def shared_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test has no terminal to give away."""
    monkeypatch.setattr(LltermApp, "suspend", lambda self: nullcontext())


@pytest.mark.usefixtures("shared_terminal")
async def test_the_story_in_an_editor_comes_back_as_one_step(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(
        "VISUAL", _editor(tmp_path, "sed -i 's/lamp maker/potter/; s/cat/dog/' $1\n")
    )
    async with start() as at:
        await at.press("f8")
        assert at.story == STORY.replace("lamp maker", "potter").replace("cat", "dog", 1)
        assert at.main.editor.text == at.story
        await at.press("ctrl+z")
        assert at.story == STORY


@pytest.mark.usefixtures("shared_terminal")
@pytest.mark.parametrize(
    ("command", "title"),
    [
        ("", "No editor is set"),
        ("/nowhere/vi", "could not be started"),
        ("'", "cannot be read"),
        ("false", "reported a failure"),
    ],
)
async def test_a_failing_editor_leaves_the_story(
    start: Start, monkeypatch: pytest.MonkeyPatch, command: str, title: str
) -> None:
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", command)
    async with start() as at:
        await at.press("f8")
        await at.until(lambda: any(title in note.title for note in at.notices))
        assert at.story == STORY


def test_an_outside_edit_touches_only_what_differs() -> None:
    for old, new, place in (("abcd", "abXd", (2, 3)), ("aa", "aaa", (2, 2)), ("", "x", (0, 0))):
        change = difference(old, new, 0, len(old))
        assert (change.start, change.stop) == place


async def test_copy_goes_to_the_terminal_and_ctrl_c_kills_nothing(start: Start) -> None:
    async with start() as at:
        await at.press("ctrl+c")
        assert at.app.is_running
        await at.press("shift+home", "ctrl+c")
        assert at.app.clipboard == at.main.editor.selected_text != ""
        assert at.story == STORY


async def test_the_count_is_in_the_title(start: Start) -> None:
    async with start("one two") as at:
        assert "2 words" in at.line("name")
        await at.press(" ", "t", "h", "r", "e", "e")
        await at.until(lambda: "3 words" in at.line("name"))
