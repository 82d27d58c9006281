"""Starting stories of the person's own: text files that any editor may change."""

from __future__ import annotations

from pathlib import Path

import pytest

from llterm import paths
from llterm.errors import LltermError, UsageError
from llterm.session import stories
from llterm.session.stories import STORIES


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLTERM_DATA_DIR", str(tmp_path))
    return paths.stories_dir()


def own() -> dict[str, str]:
    return {one.title: one.text for one in stories.starting_stories() if one.path is not None}


def test_without_a_folder_there_are_llterms_own() -> None:
    assert stories.starting_stories() == list(STORIES)
    assert not stories.others()


@pytest.mark.parametrize("text", ["The mill", "Two lines\nand a break\n", "Zürich 🦊\r\n"])
def test_what_is_kept_comes_back_letter_by_letter(text: str) -> None:
    stories.keep("The mill", text.encode())
    assert own() == {"The mill": text}
    assert stories.others()


def test_a_file_written_by_hand_is_one(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "by hand.txt").write_text("It was late\n")
    (folder / "A first.txt").write_bytes(b"broken \xff byte")
    (folder / "notes.md").write_text("none")
    assert list(own().items()) == [("A first", "broken \ufffd byte"), ("by hand", "It was late")]


def test_none_is_overwritten_and_none_leaves_the_folder(folder: Path) -> None:
    stories.keep("mill", b"one")
    stories.keep("owl", b"two")
    for name in ("mill", "../mill", "", ".mill", "a\nb"):
        with pytest.raises(UsageError):
            stories.keep(name, b"other")
    with pytest.raises(UsageError, match="already"):
        stories.rename(stories.starting_stories()[0], "owl")
    with pytest.raises(UsageError, match="has text"):
        stories.keep("blank", b" \n")
    assert own() == {"mill": "one", "owl": "two"}


def test_rename_delete_and_back(folder: Path) -> None:
    stories.keep("mill", b"one")
    stories.rename(stories.starting_stories()[0], "windmill")
    assert own() == {"windmill": "one"}
    back = stories.delete(stories.starting_stories()[0])
    assert own() == {}
    # Another one of that name is deleted too: neither is lost.
    stories.keep("windmill", b"two")
    stories.delete(stories.starting_stories()[0])
    assert sorted(one.read_text() for one in (folder / "deleted").iterdir()) == ["one\n", "two\n"]
    back()
    assert own() == {"windmill": "one"}


def test_llterms_own_stay() -> None:
    with pytest.raises(UsageError, match="cannot be deleted"):
        stories.delete(STORIES[0])
    with pytest.raises(UsageError, match="cannot be renamed"):
        stories.rename(STORIES[0], "mine")


def test_a_folder_that_cannot_be_written_is_said(folder: Path) -> None:
    folder.parent.mkdir(exist_ok=True)
    folder.write_text("a file in its place")
    with pytest.raises(LltermError, match="cannot be made"):
        stories.keep("mill", b"one")
    assert stories.starting_stories() == list(STORIES)
