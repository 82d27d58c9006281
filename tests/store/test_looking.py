"""A loom whose writer was killed in the midst of a transaction: it is as it was before that."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from llterm.headless.job import story_of
from llterm.session import looms
from llterm.session.document import Document
from llterm.store.card import read_card

STORY = "a fox went out. " * 2000


@pytest.fixture
def killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A loom, and its journal, as a kill leaves them: half of the pages are overwritten."""
    monkeypatch.setenv("LLTERM_STATE_DIR", str(tmp_path / "state"))
    alive, killed = tmp_path / "alive.loom", tmp_path / "killed.loom"
    Document.scratch(STORY.encode()).copy_to(alive)
    with closing(sqlite3.connect(alive)) as database:
        database.execute("pragma cache_size = 1")
        database.execute("begin immediate")
        database.execute("update piece set data = cast(replace(data, 'fox', 'hen') as blob)")
        database.execute("update node set stop = 3 where parent = 1")
        shutil.copyfile(alive, killed)
        shutil.copyfile(f"{alive}-journal", f"{killed}-journal")
    with (
        closing(sqlite3.connect(f"file:{killed}?mode=ro", uri=True)) as database,
        pytest.raises(sqlite3.OperationalError),
    ):
        database.execute("select * from node").fetchall()
    return killed


def test_the_list_of_looms_tells_of_it(killed: Path) -> None:
    card = read_card(killed)
    assert (card.trouble, card.size) == ("", len(STORY))


def test_it_is_duplicated_whole(killed: Path) -> None:
    document = Document.open(looms.duplicate(killed))
    document.close()
    assert document.text == STORY


def test_a_command_reads_it_whole(killed: Path) -> None:
    assert story_of(killed).decode() == STORY
