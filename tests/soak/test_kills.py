"""Killed at any moment, no file operation loses anything or leaves half a file in the way."""

from __future__ import annotations

import json
import multiprocessing
import random
import shutil
import sqlite3
import tomllib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from llterm import paths, state
from llterm.cli.doctor_loom import check_loom
from llterm.formats.exports import ExportOptions
from llterm.session import looms
from llterm.session.document import Document
from llterm.store.backups import backups
from llterm.whole_file import PART
from tests.helpers.app_kills import kill_rounds
from tests.helpers.exports import export
from tests.helpers.file_jobs import JOBS, run
from tests.helpers.loom_files import FIRST
from tests.helpers.soak_rounds import rounds
from tests.helpers.tree_commands import grown

pytestmark = pytest.mark.soak
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.helpers.file_jobs"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"LLTERM_{kind}_DIR", str(tmp_path / kind.lower()))
    work = tmp_path / "work"
    work.mkdir()
    document = grown()
    document.edit(0, 0, "many words " * 20_000)
    document.copy_to(work / "story.loom")
    document.copy_to(work / "renamed.loom")
    (work / "in.json").write_bytes(export(work / "story.loom", "json", ExportOptions()))
    shutil.copyfile(work / "story.loom", work / "damaged.bin")
    with closing(sqlite3.connect(work / "damaged.bin")) as database, database:
        database.execute("update node set stop = 999999 where id = 3")
    shutil.copyfile(FIRST, work / "version1.bin")
    return work


def killed(job: Callable[[Path, int], None], folder: Path, first: int, moment: float) -> None:
    """Let a process do the job, and kill it so many seconds after it has begun."""
    begun = SERVER.Event()
    child = SERVER.Process(target=run, args=(job, folder, first, begun.set))
    child.start()
    assert begun.wait(60)
    child.join(moment)
    assert child.exitcode is None, "the job ended by itself"
    child.kill()
    child.join()
    child.close()


def text_of(path: Path) -> str:
    document = Document.open(path)
    assert not document.read_only
    document.loom.check()
    document.close()
    return document.text


@pytest.mark.parametrize("job", JOBS)
def test_a_killed_job_leaves_whole_files(job: Callable[[Path, int], None], folder: Path) -> None:
    story = text_of(folder / "story.loom")
    old = text_of(Path(shutil.copy(FIRST, folder / "o.loom")))
    damaged = (folder / "damaged.bin").read_bytes()
    exported = (folder / "in.json").read_bytes()
    dice = random.Random(job.__name__)
    for turn in range(rounds(10)):
        killed(job, folder, 1000 * turn, dice.uniform(0.0, 0.25))
        check(folder, story, old, damaged, exported)
        # What is half made stands in no way: the same again succeeds.
        if not (folder / "story.loom").exists():
            looms.restore(looms.deleted()[0])
        job(folder, 1000 * turn + 999)
        for path in folder.glob("*.loom"):
            if path.name.startswith(("made", "older", "copy", "story copy")):
                path.unlink()
    left = [path for path in folder.parent.rglob("*") if PART in path.name]
    assert all(path.name.startswith(".") for path in left)


def check(folder: Path, story: str, old: str, damaged: bytes, exported: bytes) -> None:
    looms_left = [*folder.glob("*.loom"), *(one.path for one in looms.deleted())]
    for path in looms_left:
        if path.name == "damaged.loom" and path.read_bytes() != damaged:
            if not path.stat().st_size or check_loom(path)[1]:
                # The test's own copying was killed.
                assert damaged.startswith(path.read_bytes())
        elif path.name.startswith(("older", "o.")):
            known = FIRST.read_bytes()
            assert known.startswith(path.read_bytes()) or text_of(path) == old
        elif path.name != "damaged.loom":
            assert text_of(path) == story, path
    assert any(path.stem.endswith("story") for path in looms_left), looms_left
    assert sum(path.name.startswith("renamed") for path in looms_left) == 1
    for copy in backups(folder / "story.loom"):
        assert text_of(copy) == story
    for copy in backups(folder / "damaged.loom"):
        assert damaged.startswith(copy.read_bytes())
    if (folder / "out.json").exists():
        assert (folder / "out.json").read_bytes().rstrip(b"\n") + b"\n" == exported
    if paths.state_file().exists():
        assert tomllib.loads(paths.state_file().read_text())["ui"]["stops"] == ["stop"] * 200
    assert not state.read_state().notice
    recent = paths.state_dir() / "recent.json"
    assert not recent.exists() or isinstance(json.loads(recent.read_text()), list)


@pytest.mark.pty
def test_nothing_seen_accepted_is_lost_to_kills(tmp_path: Path) -> None:
    assert kill_rounds(tmp_path, rounds=rounds(5), seed=11) > 1
