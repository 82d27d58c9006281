"""Looms that lie end in a result or in a word to the person: no hang, no traceback, no silence."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from itertools import cycle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.cli.doctor_loom import check_loom
from llterm.cli.export_import import run_export
from llterm.core.json_text import DEEPEST, parsed
from llterm.core.loom_tree import LoomNode
from llterm.errors import UsageError
from llterm.formats.exports import ExportOptions
from llterm.session.document import Document
from llterm.store.database import connect, is_endless, to_look
from llterm.store.loom_summary import read_summary
from tests.helpers.hostile_looms import TABLES, VALUES, change, lies, made, opened, tried
from tests.helpers.tree_commands import grown

SEEN = (
    "node is a view", "meta is a view", "piece is a view", "node has a trigger",
    "head is infinity", "hoisted is infinity", "cursor is infinity", "next_node is infinity",
    "next_node is greatest", "mark.rating is infinity", "piece.overlap is infinity",
    "node.id is greatest", "rules is brackets", "sampling is settings", "a ring",
    "a ring below the story", "a step that makes a ring, undone: 0",
    "a step that makes a ring, undone: 1",
)  # fmt: skip
"""What hung or ended in a traceback once."""
CACHE = "weave"
"""A table that may hold anything: what makes no sense is made anew."""
HASH = "lines.place"
"""A column that may hold every number."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("sound") / "a.loom")


@pytest.fixture
def loom(sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLTERM_DATA_DIR", str(tmp_path / "data"))
    return Path(shutil.copy(sound, tmp_path / "a.loom"))


def test_the_sound_loom_is_sound(loom: Path) -> None:
    assert not opened(loom)
    assert check_loom(loom)[1] == 0
    with closing(sqlite3.connect(loom)) as database:
        for table in TABLES:
            assert database.execute(f"select count(*) from {table}").fetchone() > (0,), table


@pytest.mark.parametrize("name", SEEN)
def test_what_hung_once_is_told(loom: Path, name: str) -> None:
    change(loom, *dict(lies())[name])
    tried(loom)


@pytest.mark.parametrize("table", [one for one in TABLES if one != CACHE])
def test_every_column_is_read_strictly(sound: Path, loom: Path, table: str) -> None:
    """Of each column at least one value that cannot be there is told when the loom is opened, and
    every one is survived: here a few of them, in the soak all."""
    known, kinds = dict(lies()), cycle(VALUES)
    for name in TABLES[table]:
        faults = []
        for kind in ("blob", "infinity", "greatest", next(kinds)):
            shutil.copy(sound, loom)
            try:
                change(loom, *known[f"{table}.{name} is {kind}"])
            except sqlite3.Error:
                continue  # SQLite refuses it itself.
            read_summary(loom)
            faults.append(opened(loom))
            assert check_loom(loom)[1] == bool(faults[-1]), (name, kind)
        assert any(faults) or f"{table}.{name}" == HASH, name


@pytest.mark.parametrize("table", ["node", "meta", "piece"])
def test_no_statement_goes_on_for_ever(loom: Path, table: str) -> None:
    """Where nothing else stops it: counted in SQLite's steps."""
    change(loom, *dict(lies())[f"{table} is a view"])
    for database in (connect(loom), to_look(loom)):
        with closing(database), pytest.raises(sqlite3.OperationalError) as caught:
            database.execute(f"select max({TABLES[table][0]}) from {table}").fetchone()
        assert is_endless(caught.value)


def test_nothing_is_written_by_who_looks(loom: Path) -> None:
    with closing(to_look(loom)) as database, pytest.raises(sqlite3.OperationalError):
        database.execute("delete from node")


def undo_all(document: Document) -> None:
    while document.undo() is not None:
        pass


@pytest.mark.parametrize("before", [True, False])
def test_a_step_that_would_make_a_ring_is_not_undone(before: bool) -> None:
    """Also one that was read long after opening; the story goes on."""
    document = grown()
    story = document.text
    step = next(one for one in reversed(document.undo_log.history.done) if one.nodes)
    steps = len(document.undo_log.history.done)
    for id, (_, row) in [*step.nodes.items()]:
        ring = LoomNode(id, id, (row or document.loom.nodes[id]).slices)
        step.nodes[id] = (ring, row) if before else (None, ring)
    with pytest.raises(UsageError, match="history is damaged") as caught:
        undo_all(document)
    assert "llterm doctor" in caught.value.hint
    document.loom.check()
    assert document.text == story
    assert len(document.undo_log.history.done) == steps
    document.edit(0, 0, "it goes on ")
    assert document.text == "it goes on " + story


def test_what_opening_did_not_need_is_told_all_the_same(
    loom: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(loom, "update piece set overlap = 9e999")
    document = Document.open(loom)
    assert f"llterm doctor '{loom}'" in document.damage
    story = document.text
    document.close()
    assert "a.loom is damaged" in run_export(loom, "text", None, ExportOptions())
    assert capsys.readouterr().out.startswith("Once")
    report, code = check_loom(loom, repair=True)
    assert code == 0
    assert "tokens of texts" in report
    document = Document.open(loom)
    assert (document.text, document.damage) == (story, "")
    document.close()


def test_of_a_link_the_loom_it_names_is_repaired(loom: Path, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = folder / "link.loom"
    link.symlink_to(loom)
    change(loom, "update node set parent = id")
    assert check_loom(link, repair=True)[1] == 0
    assert link.is_symlink()
    assert not opened(loom)
    assert not opened(link)
    assert [*folder.iterdir()] == [link]


@pytest.mark.parametrize("shape", ["[", '{"a":', '[{"a":'])
def test_nesting_has_an_end(shape: str) -> None:
    with pytest.raises(ValueError, match="nested"):
        parsed(shape * 100_000)


@settings(max_examples=30)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=DEEPEST // 2,
    )
)
def test_what_is_not_nested_deep_is_read(value: object) -> None:
    assert parsed(json.dumps(value)) == value
    assert parsed(json.dumps(value, ensure_ascii=False)) == value
    wide = [value, [[0]] * 3 * DEEPEST, '[[["' * DEEPEST]
    assert parsed(json.dumps(wide)) == wide
