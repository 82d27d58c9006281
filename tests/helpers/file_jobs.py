"""Work on files, over and over, to be killed in the midst of it. Each job is one file operation."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

from llterm import state
from llterm.cli.doctor_loom import check_loom
from llterm.formats.exports import ExportOptions, write_file
from llterm.formats.imports import import_file
from llterm.session import looms
from llterm.session.document import Document
from llterm.store.backups import back_up
from tests.helpers.exports import export

BEGUN = datetime(2026, 1, 1)


def importing(folder: Path, turn: int) -> None:
    import_file((folder / "in.json").read_bytes(), "in.json", None, folder / f"made {turn}.loom")


def exporting(folder: Path, turn: int) -> None:
    data = export(folder / "story.loom", "json", ExportOptions())
    write_file(folder / "out.json", data + b"\n" * (turn % 2))


def backing_up(folder: Path, turn: int) -> None:
    os.utime(folder / "story.loom")
    back_up(folder / "story.loom", 3, BEGUN + timedelta(days=turn))


def migrating(folder: Path, turn: int) -> None:
    path = folder / f"older {turn}.loom"
    shutil.copyfile(folder / "version1.bin", path)
    Document.open(path).close()


def repairing(folder: Path, turn: int) -> None:
    shutil.copyfile(folder / "damaged.bin", folder / "damaged.loom")
    check_loom(folder / "damaged.loom", repair=True)


def duplicating(folder: Path, turn: int) -> None:
    looms.duplicate(folder / "story.loom")


def renaming(folder: Path, turn: int) -> None:
    (there,) = folder.glob("renamed*.loom")
    looms.rename(there, f"renamed {turn}")


def deleting(folder: Path, turn: int) -> None:
    looms.restore(looms.delete(folder / "story.loom"))


def copying(folder: Path, turn: int) -> None:
    document = Document.open(folder / "story.loom")
    document.copy_to(folder / f"copy {turn}.loom")
    document.close()


def choosing(folder: Path, turn: int) -> None:
    state.keep({"ui.theme": f"theme {turn}", "ui.stops": ("stop",) * 200})
    looms.remember(folder / f"{turn}.loom")


JOBS: tuple[Callable[[Path, int], None], ...] = (
    importing, exporting, backing_up, migrating, repairing, duplicating, renaming, deleting,
    copying, choosing,
)  # fmt: skip


def run(
    job: Callable[[Path, int], None], folder: Path, first: int, begun: Callable[[], None]
) -> None:
    """Do a job without end, and say when the first turn begins."""
    # The server that forks was begun by another test, in other folders.
    for kind in ("CONFIG", "DATA", "STATE"):
        os.environ[f"LLTERM_{kind}_DIR"] = str(folder.parent / kind.lower())
    begun()
    for turn in count(first):
        job(folder, turn)
