"""The list of looms: recent ones first; renamed, duplicated, deleted and brought back."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest

from llterm.errors import LltermError, UsageError
from llterm.session import looms
from llterm.session.document import Document
from llterm.store.backups import back_up, backup_folder, backups
from tests.helpers.document_edits import model_run
from tests.helpers.loom_files import FIRST
from tests.helpers.tree_commands import grown


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLTERM_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LLTERM_STATE_DIR", str(tmp_path / "state"))
    return tmp_path


def loom(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    document = Document.scratch(text.encode())
    document.copy_to(path)
    return path


def read(path: Path) -> str:
    document = Document.open(path)
    document.close()
    return document.text


def test_recent_looms_come_first_then_those_in_the_own_folder(home: Path) -> None:
    for name in ("a", "b"):
        looms.open_loom(loom(home / f"{name}.loom", f"the story of {name}")).close()
    loom(home / "data/looms/nameless.loom", "of nobody")
    looms.open_loom(home / "a.loom").close()
    assert [card.title for card in looms.looms()] == ["a", "b", "nameless"]
    (home / "b.loom").unlink()
    assert [card.title for card in looms.looms()] == ["a", "nameless"]
    looms.forget(home / "a.loom")
    assert [card.title for card in looms.looms()] == ["nameless"]


def test_a_card_tells_beginning_end_and_size(home: Path) -> None:
    document = grown()
    document.branches.merge(document.loom.head)
    document.branches.delete_siblings(document.loom.head)
    document.copy_to(home / "a.loom")
    looms.remember(home / "a.loom")
    (card,) = looms.looms()
    story = document.bytes_before(10**9)
    assert card.size == len(story)
    assert card.beginning.startswith("Once before")
    assert card.ending.endswith("sat")
    assert card.nodes == sum(map(document.loom.holds, document.loom.nodes))
    assert card.changed > 1e9
    assert not card.trouble


def test_a_card_shows_no_control_codes_and_knows_older_files(home: Path) -> None:
    loom(home / "a.loom", "\x1b[31mred\u202e\n\nend")
    looms.remember(home / "a.loom")
    old = FIRST
    (home / "old.loom").write_bytes(old.read_bytes())
    looms.remember(home / "old.loom")
    old_card, card = looms.looms()
    assert card.beginning == "␛[31mred\ufffd  end"
    assert old_card.beginning.startswith("Once")
    assert not old_card.trouble


@pytest.mark.parametrize("data", [b"", b"no loom", b"SQLite format 3\0" + b"x" * 300])
def test_what_cannot_be_read_says_so_in_the_list(home: Path, data: bytes) -> None:
    (home / "a.loom").write_bytes(data)
    looms.remember(home / "a.loom")
    (card,) = looms.looms()
    assert card.trouble


def test_a_renamed_loom_keeps_its_copies_and_its_place_in_the_list(home: Path) -> None:
    path = loom(home / "a.loom", "The fox")
    looms.open_loom(path, backups=3).close()
    new = looms.rename(path, " the fox ")
    assert new == home / "the fox.loom"
    assert read(new) == "The fox"
    assert not path.exists()
    assert [card.path for card in looms.looms()] == [new]
    assert len(backups(new)) == 1


@pytest.mark.parametrize("name", ["", "  ", ".hidden", "a/b", "a\x1bb", "../up"])
def test_names_that_are_none_are_refused(home: Path, name: str) -> None:
    path = loom(home / "a.loom", "The fox")
    with pytest.raises(UsageError, match="cannot have the name"):
        looms.rename(path, name)
    assert path.exists()


def test_nothing_is_overwritten(home: Path) -> None:
    first, two = loom(home / "a.loom", "one"), loom(home / "b.loom", "two")
    with pytest.raises(UsageError, match="exists already"):
        looms.rename(first, "b")
    assert looms.rename(first, "a.loom") == first
    assert looms.duplicate(first).name == "a copy.loom"
    assert looms.duplicate(first).name == "a copy 2.loom"
    gone = looms.delete(two)
    loom(home / "b.loom", "three")
    assert looms.restore(gone).name == "b 2.loom"
    assert (read(home / "b.loom"), read(home / "b 2.loom")) == ("three", "two")


def test_a_duplicate_has_the_history_and_a_life_of_its_own(home: Path) -> None:
    path = loom(home / "a.loom", "The")
    document = Document.open(path)
    document.accept(model_run(b" fox"), 3)
    copy = Document.open(looms.duplicate(path))
    assert copy.text == "The fox"
    assert copy.path is not None
    assert copy.path.stat().st_mode & 0o077 == 0
    copy.undo()
    copy.close()
    assert document.text == "The fox"
    document.close()


def test_deleting_can_be_taken_back(home: Path) -> None:
    path = loom(home / "a.loom", "The fox")
    looms.remember(path)
    gone = looms.delete(path)
    assert not path.exists()
    assert looms.looms() == []
    assert looms.deleted() == [gone]
    assert looms.restore(gone) == path
    assert read(path) == "The fox"
    assert looms.deleted() == []
    assert [card.path for card in looms.looms()] == [path]


def test_the_trash_has_a_limit(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looms, "MOST_TRASH", 2)
    for day in range(1, 5):
        looms.delete(loom(home / f"{day}.loom", "x"), datetime(2026, 1, day))
    assert [one.origin.name for one in looms.deleted()] == ["4.loom", "3.loom"]
    assert len(list((home / "data/trash").iterdir())) == 4


def test_a_loom_that_is_open_stays_where_it_is(home: Path) -> None:
    path = loom(home / "a.loom", "The fox")
    document = Document.open(path)
    for act in (lambda: looms.delete(path), lambda: looms.rename(path, "b")):
        with pytest.raises(UsageError, match="now") as caught:
            act()
        assert caught.value.cause == "It is open, here or in another llterm."
    document.close()
    with pytest.raises(LltermError):
        looms.duplicate(home / "none.loom")
    assert [one.name for one in home.glob("*.loom")] == ["a.loom"]


def test_copies_are_dated_one_a_day_and_limited(home: Path) -> None:
    path = loom(home / "a.loom", "The fox")
    made = [back_up(path, 3, datetime(2026, 1, day, hour)) for day in (1, 2, 3) for hour in (9, 17)]
    assert [row.stem for row in made if row] == ["2026-01-01 09.00.00"]
    for day in (4, 5, 6):
        # As if something had been written since the last copy.
        newest = backups(path)[0].stat().st_mtime
        os.utime(path, (newest + day, newest + day))
        back_up(path, 3, datetime(2026, 1, day))
    assert [row.stem[:10] for row in backups(path)] == ["2026-01-06", "2026-01-05", "2026-01-04"]
    assert read(backups(path)[0]) == "The fox"
    assert back_up(path, 0, datetime(2026, 2, 1)) is None


def test_no_copy_is_made_of_a_loom_that_is_being_written(home: Path) -> None:
    path = loom(home / "a.loom", "The fox")
    document = Document.open(path)
    assert back_up(path, 3) is None
    document.close()
    assert back_up(path, 3) is not None
    assert len(list(backup_folder(path).iterdir())) == 1


def test_a_name_that_leaves_its_journal_no_room_is_no_fault_of_the_disk(home: Path) -> None:
    path = home / f"{'n' * 245}.loom"
    with pytest.raises(UsageError, match="could not be opened") as caught:
        Document.create(path)
    assert "File name too long" in caught.value.cause
    assert not path.exists()
