"""Loom files that are broken, foreign, newer, locked or on a full disk: told, never a traceback."""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llterm.errors import LltermError, UsageError
from llterm.session.document import Document
from tests.helpers.document_edits import model_run
from tests.helpers.hostile_looms import change


@pytest.fixture
def loom(tmp_path: Path) -> Path:
    path = tmp_path / "a.loom"
    document = Document.create(path, b"Once upon a time " * 40)
    for word in (b" there", b" was", b" a", b" fox"):
        document.accept(model_run(word), len(document.text))
        document.edit(3, 3, "x")
        document.undo()
    document.save_weave(b"blob" * 2000)
    document.close()
    return path


@contextmanager
def full_disk(path: Path) -> Iterator[None]:
    """No file of this process may grow, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def refused(path: Path) -> LltermError:
    with pytest.raises(LltermError) as caught:
        Document.open(path)
    assert path.name in caught.value.title
    assert caught.value.hint
    return caught.value


def attempt(path: Path) -> Document | LltermError:
    try:
        return Document.open(path)
    except LltermError as error:
        return error


def test_damage_anywhere_is_survived_or_told(loom: Path) -> None:
    whole = loom.read_bytes()
    dice = random.Random(1)
    for turn in range(150):
        broken = bytearray(whole)
        if turn % 3 == 0:
            del broken[dice.randrange(len(whole)) :]
        else:
            for _ in range(dice.randrange(1, 40)):
                broken[dice.randrange(len(whole))] = dice.randrange(256)
        loom.write_bytes(broken)
        opened = attempt(loom)
        if isinstance(opened, LltermError):
            assert loom.name in opened.title
            assert opened.hint
        else:
            opened.load_weave()
            assert isinstance(opened.text, str)
            opened.close()


@pytest.mark.parametrize(
    "statement",
    [
        "update node set parent = id",
        "update node set parent = 9999 where id = (select max(id) from node)",
        "update node set stop = 99999",
        "update node set piece = 99999",
        "update node set start = -5",
        "delete from piece",
        "update step set rows = '[]'",
        "update step set rows = '{broken'",
        "update step set rows = replace(rows, '[', '[[')",
        "update meta set value = 4711 where key = 'head'",
        "update meta set value = 'x' where key = 'cursor'",
        "update meta set value = '[1]' where key = 'rules'",
        "update meta set value = '{' where key = 'rules'",
        "drop table step",
    ],
)
def test_a_loom_that_makes_no_sense_is_told(loom: Path, statement: str) -> None:
    change(loom, statement)
    assert "damaged" in refused(loom).title


def test_foreign_and_newer_files_are_told_apart(loom: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.loom"
    change(other, "create table t (x)")
    assert "not a loom" in refused(other).title
    change(loom, "pragma user_version = 99")
    assert "newer" in refused(loom).title


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.loom"
    os.mkfifo(pipe)
    assert "no ordinary file" in refused(pipe).title


def test_a_full_disk_loses_nothing(loom: Path) -> None:
    document = Document.open(loom)
    text = "word " * 20_000
    with full_disk(loom):
        document.edit(0, 0, text)
        with pytest.raises(LltermError, match="could not be saved") as caught:
            document.undo_log.flush()
        assert caught.value.hint
        change = document.accept(model_run(b" more"), len(document.text))
        assert change.text == " more"
        with pytest.raises(LltermError):
            document.undo_log.flush()
        copy = loom.parent / "copy.loom"
        with pytest.raises(LltermError, match="could not be"):
            document.copy_to(copy)
        assert not copy.exists()
    assert document.text.startswith(text)
    document.copy_to(copy)
    elsewhere = Document.open(copy)
    assert elsewhere.text == document.text
    assert elsewhere.undo_label == document.undo_label
    elsewhere.close()
    document.undo_log.flush()
    shown = document.text
    document.close()
    again = Document.open(loom)
    assert again.text == shown
    again.close()


def test_a_loom_begun_on_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    with full_disk(empty), pytest.raises(LltermError, match="could not be"):
        Document.create(tmp_path / "new.loom", b"The")
    assert not (tmp_path / "new.loom").exists()


@pytest.mark.parametrize("locked", ["file", "folder"])
def test_what_may_not_be_written_is_read(loom: Path, locked: str) -> None:
    """As another user where the tests run as root, whom no permission stops."""
    script = (
        "import os, sys, pathlib\n"
        "from llterm.session.document import Document\n"
        "if os.getuid() == 0: os.setuid(65534)\n"
        "document = Document.open(pathlib.Path(sys.argv[1]))\n"
        "print(document.read_only, document.notice, len(document.text))\n"
    )
    # pytest's own folder is closed to others, and closed again by each run that begins.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(shutil.copy(loom, folder))
        path.chmod(0o444 if locked == "file" else 0o666)
        path.parent.chmod(0o555 if locked == "folder" else 0o777)
        done = subprocess.run(
            [sys.executable, "-c", script, path], capture_output=True, text=True, check=False
        )
        path.parent.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("True")
    assert "a.loom may not be written" in done.stdout


def test_a_second_llterm_says_why_it_only_reads(loom: Path) -> None:
    first, second = Document.open(loom), Document.open(loom)
    assert first.notice == ""
    assert "Another llterm has a.loom open" in second.notice
    with pytest.raises(UsageError, match="reading only"):
        second.undo()
    second.close()
    first.edit(0, 0, "still mine ")
    first.close()
    third = Document.open(loom)
    assert third.text.startswith("still mine ")
    third.close()
