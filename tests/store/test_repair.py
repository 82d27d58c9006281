"""A damaged loom: what is left of it is put into a sound one, and what is lost is said."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from llterm.cli.doctor_loom import check_loom
from llterm.core.loom_tree import ROOT
from llterm.errors import LltermError, UsageError
from llterm.session.document import Document
from llterm.store.backups import backup_folder
from tests.helpers.hostile_looms import change
from tests.helpers.tree_commands import grown


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLTERM_DATA_DIR", str(tmp_path / "data"))


@pytest.fixture
def loom(tmp_path: Path) -> Path:
    document = grown()
    document.branches.bookmark(document.loom.head)
    document.copy_to(tmp_path / "a.loom")
    return tmp_path / "a.loom"


def opened(path: Path) -> Document:
    document = Document.open(path)
    assert not document.read_only
    document.loom.check()
    return document


def test_a_sound_loom_is_left_alone(loom: Path) -> None:
    before = loom.read_bytes()
    report, code = check_loom(loom, repair=True)
    assert "sound; a story of" in report
    assert code == 0
    assert loom.read_bytes() == before


@pytest.mark.parametrize(
    ("statement", "losses"),
    [
        ("update node set parent = 4711 where id = 3", "where 1 branch hung"),
        ("update node set parent = 3 where id = 2", "hung"),
        ("update node set stop = 99999 where id = 3", "the text of 1 node"),
        ("delete from piece where id = 2", "the text of"),
        ("update meta set value = 4711 where key = 'head'", "which branch was the story"),
        ("delete from meta where key = 'head'", "which branch was the story"),
        ("update meta set value = '[1]' where key = 'rules'", "the weave settings"),
        ("update step set rows = '{broken'", "the history"),
        ("update mark set tags = 'x'", "some of the notes and marks, or all"),
        ("update meta set value = 'x' where key = 'cursor'", "Nothing is lost"),
    ],
)
def test_what_is_lost_is_said_and_the_rest_kept(loom: Path, statement: str, losses: str) -> None:
    whole = Document.open(loom)
    texts = {whole.loom.data(node) for node in whole.loom.nodes.values()}
    whole.close()
    change(loom, statement)
    damaged = loom.read_bytes()
    report, code = check_loom(loom)
    assert code == 1
    assert losses in report
    assert loom.read_bytes() == damaged
    report, code = check_loom(loom, repair=True)
    assert code == 0
    document = opened(loom)
    left = {document.loom.data(node) for node in document.loom.nodes.values()}
    assert len(texts - left) <= 5
    assert left <= texts
    document.edit(0, 0, "it goes on ")
    while document.undo() is not None:
        pass
    document.close()
    (kept,) = backup_folder(loom).glob("*damaged.loom")
    assert kept.read_bytes() == damaged
    assert check_loom(loom)[1] == 0


def test_where_the_settings_are_gone_the_story_is_not(loom: Path) -> None:
    """The page that they lie on is damaged: the newest branch is the story, and that is said."""
    document = opened(loom)
    document.save_lines(b"Once", b"sampled")
    document.close()
    with closing(sqlite3.connect(loom)) as database:
        (page,) = database.execute(
            "select rootpage from sqlite_master where name = 'meta'"
        ).fetchone()
        (size,) = database.execute("pragma page_size").fetchone()
    data = bytearray(loom.read_bytes())
    data[(page - 1) * size : page * size] = bytes(size)
    loom.write_bytes(data)
    report, code = check_loom(loom)
    assert code == 1
    assert "some of the settings" in report
    assert "which branch was the story" in report
    assert "Nothing is lost" not in report
    assert check_loom(loom, repair=True)[1] == 0
    document = opened(loom)
    assert document.text
    assert document.load_lines(b"Once") == b"sampled"
    document.close()


def test_bytes_damaged_anywhere_never_end_in_a_traceback(loom: Path) -> None:
    """After a repair that says it can be done, the loom opens; every node left has its text."""
    whole = loom.read_bytes()
    dice = random.Random(3)
    repaired = 0
    for turn in range(60):
        broken = bytearray(whole)
        if turn % 3 == 0:
            del broken[dice.randrange(len(whole)) :]
        for _ in range(dice.randrange(1, 30)):
            if broken:
                broken[dice.randrange(len(broken))] = dice.randrange(256)
        loom.write_bytes(broken)
        try:
            report, code = check_loom(loom, repair=True)
        except LltermError:
            continue
        if code == 0 and "Repaired" in report:
            repaired += 1
            opened(loom).close()
        else:
            assert code == 1 or "sound" in report
    assert repaired > 10


def test_a_loom_that_is_open_elsewhere_is_checked_and_not_repaired(loom: Path) -> None:
    change(loom, "update mark set tags = 'x'")
    change(loom, "update meta set value = 4711 where key = 'head'")
    from llterm.store.lock import Lock

    other = Lock(loom)
    assert check_loom(loom)[1] == 1
    with pytest.raises(UsageError, match="cannot be repaired"):
        check_loom(loom, repair=True)
    other.close()


def test_what_is_no_loom_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.loom").write_text("a story")
    with pytest.raises(UsageError, match="not a loom"):
        check_loom(tmp_path / "a.loom")
    with pytest.raises(UsageError, match="There is no loom"):
        check_loom(tmp_path / "none.loom")


def test_a_loom_of_another_program_or_of_a_newer_llterm_is_not_touched(loom: Path) -> None:
    change(loom, "pragma user_version = 99")
    before = loom.read_bytes()
    report, code = check_loom(loom, repair=True)
    assert code == 1
    assert "newer llterm" in report
    assert loom.read_bytes() == before


def test_a_repaired_tree_has_no_rings(loom: Path) -> None:
    document = opened(loom)
    ids = sorted(document.loom.nodes)[:4]
    document.close()
    for one, other in zip(ids, [*ids[1:], ids[0]], strict=True):
        change(loom, f"update node set parent = {other} where id = {one}")
    check_loom(loom, repair=True)
    document = opened(loom)
    assert set(ids) <= set(document.loom.below(ROOT))
    document.close()
