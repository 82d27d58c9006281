"""What can become of a loom's file while it is open."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from llterm.session.document import Document
from llterm.store.file import LoomFile


def truncated(path: Path, file: LoomFile) -> None:
    os.truncate(path, 0)


def cut_off(path: Path, file: LoomFile) -> None:
    os.truncate(path, path.stat().st_size // 8192 * 4096)


def zeroed(path: Path, file: LoomFile) -> None:
    with path.open("r+b") as there:
        there.write(bytes(path.stat().st_size))


def garbage(path: Path, file: LoomFile) -> None:
    with path.open("r+b") as there:
        there.write(random.Random(1).randbytes(path.stat().st_size))


def garbage_behind_the_header(path: Path, file: LoomFile) -> None:
    with path.open("r+b") as handle:
        handle.seek(4096)
        handle.write(random.Random(1).randbytes(path.stat().st_size - 4096))


def unlinked(path: Path, file: LoomFile) -> None:
    path.unlink()


def moved(path: Path, file: LoomFile) -> None:
    path.rename(path.with_name("elsewhere.loom"))


def replaced(path: Path, file: LoomFile) -> None:
    other = path.with_name("other.loom")
    Document.create(other, b"An older story").close()
    other.replace(path)


def overwritten_by_a_text(path: Path, file: LoomFile) -> None:
    path.write_text("This is no loom.\n" * 100)


def folder_in_its_place(path: Path, file: LoomFile) -> None:
    path.unlink()
    path.mkdir()


def emptied_by_another_program(path: Path, file: LoomFile) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        for table in ("piece", "step", "extra", "lines", "node"):
            other.execute(f"drop table {table}")


def rows_that_make_no_sense(path: Path, file: LoomFile) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        other.execute("update piece set ids = 'x', birth = x'ff', logprobs = 1.5")
        other.execute("update step set rows = '[]'")
        other.execute("update extra set fields = '{'")
        other.execute("update lines set drawn = 'x'")


def stick_pulled_out(path: Path, file: LoomFile) -> None:
    """Every read of the handles is an I/O error."""
    status = path.stat()
    reader, writer = os.pipe()
    for handle in range(3, 512):
        try:
            same = os.path.samestat(os.fstat(handle), status)
        except OSError:
            continue
        if same:
            os.dup2(reader, handle)
    os.close(reader)
    os.close(writer)
    path.unlink()


def every_statement_refused(path: Path, file: LoomFile) -> None:
    file.database.set_authorizer(lambda *_: sqlite3.SQLITE_DENY)


def every_statement_interrupted(path: Path, file: LoomFile) -> None:
    file.database.set_progress_handler(lambda: 1, 1)


def connection_closed(path: Path, file: LoomFile) -> None:
    file.database.close()


Harm = Callable[[Path, LoomFile], None]
HARMS: tuple[Harm, ...] = (
    truncated, cut_off, zeroed, garbage, garbage_behind_the_header, unlinked, moved, replaced,
    overwritten_by_a_text, folder_in_its_place, emptied_by_another_program,
    rows_that_make_no_sense, stick_pulled_out, every_statement_refused,
    every_statement_interrupted, connection_closed,
)  # fmt: skip
