"""Looms of older versions of the format open, whole, and are brought up to date.

`files/version1.loom` was made by the llterm of format version 1: typed text with an emoji, a line
break of another system and a broken byte; accepts, an edit in the middle, a branch kept after an
undo, a hidden prefix, and one undone step.
"""

from __future__ import annotations

import fcntl
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from llterm.errors import UsageError
from llterm.session.document import Document
from llterm.store.loom_schema import MIGRATIONS
from tests.helpers.loom_files import FIRST


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copy(FIRST, tmp_path / "old.loom"))


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        return int(database.execute("pragma user_version").fetchone()[0])


def check(document: Document) -> None:
    """What the file of version 1 held."""
    assert document.text == "Once  owl��"
    assert document.cursor == 11
    assert (document.rules.depth, document.prefix, document.model) == (7, "memory", "fable")
    assert (document.undo_label, document.redo_label) == ("hidden prefix", "weave settings")
    texts = {document.loom.data(node) for node in document.loom.nodes.values()}
    assert {b" a fox", b" owl\xe2\x80", b" before"} <= texts
    made = [one for one in map(document.loom.pieces.__getitem__, document.loom.pieces.texts)
            if one.ids is not None]  # fmt: skip
    assert {one.logprobs for one in made} == {(-1.0, -1.0)}
    assert document.undo_log.birth(made[0].id).alternatives == (((1, b"x", -2.0),),) * 2


def test_a_loom_of_the_first_version_is_whole(old: Path) -> None:
    assert version(old) == 1
    document = Document.open(old)
    check(document)
    document.redo()
    assert document.rules.depth == 9
    while document.undo() is not None:
        pass
    assert document.text == "Once upon a time, é 👩‍🚀.␍\n�"
    while document.redo() is not None:
        pass
    document.branches.bookmark(document.loom.head)
    document.close()
    assert version(old) == len(MIGRATIONS)
    again = Document.open(old)
    assert again.text == "Once  owl��"
    assert again.branches.marks(again.loom.head).bookmark
    again.close()


def test_one_that_may_not_be_written_is_read_as_it_is(old: Path) -> None:
    before = old.read_bytes()
    with old.open("rb+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        document = Document.open(old)
        assert document.read_only
        check(document)
        document.close()
    assert old.read_bytes() == before


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = (*MIGRATIONS, "create table one_more (a); create table one_more (a)")
    monkeypatch.setattr("llterm.store.loom_schema.MIGRATIONS", broken)
    monkeypatch.setattr("llterm.store.file.MIGRATIONS", broken)
    with pytest.raises(UsageError, match="damaged"):
        Document.open(old)
    monkeypatch.undo()
    check(Document.open(old))


def test_steps_from_long_ago_are_undone_too(tmp_path: Path) -> None:
    """More of them than are read at first."""
    path = tmp_path / "long.loom"
    document = Document.scratch(b"The")
    for number in range(450):
        document.branches.note(document.loom.head, str(number))
    document.copy_to(path)
    again = Document.open(path)
    assert len(again.undo_log.history.done) < 450
    for number in reversed(range(150, 449)):
        again.undo()
        assert again.branches.marks(again.loom.head).note == str(number)
    again.close()
    last = Document.open(path)
    assert last.branches.marks(last.loom.head).note == "150"
    count = 0
    while last.undo() is not None:
        count += 1
    assert count == 151
    while last.redo() is not None:
        count += 1
    assert count == 151 + 450
    last.close()
