"""Opens a loom's database to look at it or copy it, also where nothing may be written.

A kill can leave a transaction half done, with its journal beside the file. Who may write plays it
back, by reading: SQLite does so itself. Where that may not be, a copy is played back.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import urllib.parse
from contextlib import closing
from pathlib import Path

_REFUSALS = (
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM,
)  # fmt: skip
"""Codes of errors with which playing back fails where nothing may be written."""


def connected(path: Path) -> sqlite3.Connection:
    """An existing loom's database, to write where that may be. Raises sqlite3.Error.

    Never SQLite's mode `ro`: it could not play a journal back that it may.
    """
    address = f"file:{urllib.parse.quote(str(path.absolute()))}?mode=rw"
    return sqlite3.connect(address, uri=True)


def to_look(path: Path) -> sqlite3.Connection:
    """An existing loom's database, as it was before what a kill cut off; nothing can be written
    through it. Raises sqlite3.Error."""
    database = connected(path)
    try:
        database.execute("pragma query_only = on")
        database.execute("select 1 from sqlite_master limit 1").fetchone()
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _REFUSALS and journal_of(path).exists():
            database.close()
            return _played_back(path)
        # Of other errors whoever asks something hears.
    except ValueError:
        pass  # The same, in a message that quotes a damaged schema and is no UTF-8.
    return database


def journal_of(path: Path) -> Path:
    """Where SQLite keeps what a transaction changes, until it is done."""
    return path.with_name(path.name + "-journal")


def _played_back(path: Path) -> sqlite3.Connection:
    """A copy in memory, without the transaction that was cut off."""
    memory = sqlite3.connect(":memory:")
    try:
        with tempfile.TemporaryDirectory(prefix="llterm-") as folder:
            copy = Path(folder) / "copy.loom"
            shutil.copyfile(path, copy)
            shutil.copyfile(journal_of(path), journal_of(copy))
            with closing(connected(copy)) as database:
                database.backup(memory)
    except BaseException as error:
        memory.close()
        if isinstance(error, OSError):
            raise sqlite3.OperationalError(f"no copy to look at: {error.strerror}") from error
        raise
    return memory
