"""A loom whose writer was killed in the midst of a transaction: it is as it was before that."""

from __future__ import annotations

import fcntl
import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from llterm.jobs.loom_story import read_story
from llterm.session import looms
from llterm.session.document import Document
from llterm.store.database import journal_of
from llterm.store.loom_summary import read_summary

STORY = "a fox went out. " * 2000
LOOK = """
import json, os, sys
from pathlib import Path
from llterm.core.tree_outline import Outline
from llterm.formats.exports import ExportOptions, exported
from llterm.formats.export_source import read_source
from llterm.jobs.loom_story import read_story
from llterm.cli.doctor_loom import check_loom
from llterm.session.document import Document
from llterm.store.loom_summary import read_summary

path = Path(sys.argv[1])
if os.getuid() == 0 and sys.argv[2] != "locked":
    os.setuid(65534)
document = Document.open(path)
card = read_summary(path)
json.dump({
    "read_only": document.read_only, "notice": document.notice, "opened": document.text,
    "exported": exported(read_source(path, history=False), "text", ExportOptions()).decode(),
    "told": read_story(path).text.decode(),
    "doctor": check_loom(path)[1], "trouble": card.trouble, "size": card.size,
}, sys.stdout)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Not pytest's, which another run of it closes to other users."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.fixture
def killed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A loom, and its journal, as a kill leaves them: half of the pages are overwritten."""
    monkeypatch.setenv("LLTERM_STATE_DIR", str(folder / "state"))
    alive, killed = folder / "alive.loom", folder / "killed.loom"
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


@pytest.mark.parametrize("kept_out", ["locked", "file", "folder", "both"])
def test_it_is_seen_whole_where_nothing_may_be_written(killed: Path, kept_out: str) -> None:
    """As another user where the tests run as root, whom no permission stops."""
    journal = journal_of(killed)
    for path in (killed, journal):
        path.chmod(0o444 if kept_out in ("file", "both") else 0o666)
    before = killed.read_bytes(), journal.read_bytes()
    killed.parent.chmod(0o555 if kept_out in ("folder", "both") else 0o777)
    with killed.open("rb") as holder:
        if kept_out == "locked":
            fcntl.flock(holder, fcntl.LOCK_EX)
        done = subprocess.run(
            [sys.executable, "-c", LOOK, str(killed), kept_out], capture_output=True, check=False
        )
    killed.parent.chmod(0o755)
    assert done.returncode == 0, done.stderr.decode()
    seen = json.loads(done.stdout)
    assert seen.pop("notice")
    assert seen == {
        "read_only": True, "opened": STORY, "exported": STORY, "told": STORY, "doctor": 0,
        "trouble": "", "size": len(STORY),
    }  # fmt: skip
    if kept_out in ("file", "both"):
        assert (killed.read_bytes(), journal.read_bytes()) == before


def test_a_renamed_loom_takes_no_half_transaction_along(killed: Path) -> None:
    document = Document.open(looms.rename(killed, "other name"))
    assert document.text == STORY
    document.close()
    assert not journal_of(killed).exists()


def test_an_llterm_that_is_just_ending_is_waited_for(killed: Path) -> None:
    script = "import fcntl, sys; f = open(sys.argv[1], 'rb'); fcntl.flock(f, fcntl.LOCK_EX); "
    with subprocess.Popen(
        [sys.executable, "-c", script + "print(1, flush=True); sys.stdin.read()", str(killed)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as holder:  # fmt: skip
        assert holder.stdout is not None
        holder.stdout.readline()
        announced: list[str] = []

        def waiting(text: str) -> None:
            announced.append(text)
            holder.kill()

        document = Document.open(killed, waiting)
        assert (document.read_only, document.text) == (False, STORY)
        document.close()
    assert announced == ["Another llterm has killed.loom open; waiting for it to end."]


def test_one_that_stays_is_not_waited_for_for_ever(
    killed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llterm.store.lock.PATIENCE", 0.0)
    announced: list[str] = []
    first = Document.open(killed)
    second = Document.open(killed, announced.append)
    assert second.read_only
    assert len(announced) == 1
    second.close()
    first.close()


def test_the_list_of_looms_tells_of_it(killed: Path) -> None:
    card = read_summary(killed)
    assert (card.trouble, card.size) == ("", len(STORY))


def test_it_is_duplicated_whole(killed: Path) -> None:
    document = Document.open(looms.duplicate(killed))
    document.close()
    assert document.text == STORY


def test_a_command_reads_it_whole(killed: Path) -> None:
    assert read_story(killed).text.decode() == STORY
