"""The one way to a loom's database.

A loom may be damaged, or made to do harm: tables that are views without an end, triggers, pages
that lead back to themselves. So every connection counts the steps that SQLite takes, and runs
nothing but the tables that `store.loom_schema` made.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from llterm.errors import reason
from llterm.store.values import Damage

_EVERY = 1000
"""Steps of SQLite's machine between two looks at their number."""
_LEAST_STEPS = 1_000_000
_STEPS_A_BYTE = 8
"""A row takes some ten bytes at least; to read or write it, twenty steps or so."""
_LONGEST = 1 << 20
"""Bytes that may be read of the smallest file."""
_TEXT_A_BYTE = 4
"""Most characters that a byte becomes where it is read; and something over."""

_REFUSALS = (
    sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM,
)  # fmt: skip
"""Codes of errors with which playing back fails where nothing may be written."""

Row = tuple[Any, ...]


class Connection(sqlite3.Connection):
    """A connection on which no statement goes on for ever: it may take as many steps as the size of
    the file explains, and is interrupted then (`sqlite3.OperationalError`)."""

    path: Path | None = None
    """Whose size counts; None in memory, where `size` does."""
    size = 0
    _steps = 0

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        self._steps = 0
        return super().execute(*arguments)

    def rows(self, sql: str, values: Sequence[object] = (), *, first: int = 0) -> Iterator[Row]:
        """The rows of a query, which together are no longer than the file explains: pages that lead
        back to themselves hold any length. Columns before the `first` are not counted, for speed.

        Raises Damage, and sqlite3.Error.
        """
        left = _LONGEST + _TEXT_A_BYTE * self.size
        for row in self.execute(sql, values):
            for value in row[first:]:
                if type(value) is bytes or type(value) is str:
                    left -= len(value)
                    if left < 0:
                        raise Damage("its texts are longer than the file")
            yield row

    def executescript(self, *arguments: Any) -> sqlite3.Cursor:
        self._steps = 0
        return super().executescript(*arguments)

    def executemany(self, sql: str, rows: Iterable[Any]) -> sqlite3.Cursor:
        """Each row has the steps of a whole statement."""
        return super().executemany(sql, map(self._counted_anew, rows))

    def guard(self) -> None:
        """Count from now on, and trust nothing that the file says."""
        self.set_progress_handler(self._went_on, _EVERY)
        self.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        self.setlimit(sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 1)
        for pragma in ("trusted_schema = off", "cell_size_check = on", "mmap_size = 0"):
            self.execute(f"pragma {pragma}")
        # Other bytes than UTF-8 are no reason to give up a row.
        self.text_factory = _as_text

    def _counted_anew(self, row: Any) -> Any:
        self._steps = 0
        return row

    def _went_on(self) -> int:
        """Whether to interrupt: asked every so many steps."""
        self._steps += _EVERY
        if self._steps <= _allowed(self.size):
            return 0
        if self.path is not None:
            # It may have grown meanwhile.
            with suppress(OSError):
                self.size = self.path.stat().st_size
        return int(self._steps > _allowed(self.size))


def connect(path: Path) -> Connection:
    """An existing loom's database, to write where that may be. Raises sqlite3.Error.

    Any thread may use it, one at a time: a server's looms have none of their own.
    Never SQLite's mode `ro`: it could not play a journal back that it may.
    """
    address = f"file:{urllib.parse.quote(os.fsencode(path.absolute()))}?mode=rw"
    database = sqlite3.connect(address, uri=True, factory=Connection, check_same_thread=False)
    try:
        database.path = path.absolute()
        with suppress(OSError):
            database.size = path.stat().st_size
        database.guard()
    except BaseException:
        database.close()
        raise
    return database


def to_look(path: Path) -> Connection:
    """An existing loom's database, as it was before what a kill cut off; nothing can be written
    through it. Raises sqlite3.Error.

    A kill can leave a transaction half done, with its journal beside the file. Who may write plays
    it back, by reading: SQLite does so itself. Where that may not be, a copy is played back.
    """
    database = connect(path)
    try:
        database.execute("pragma query_only = on")
        database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(database.size, _LONGEST))
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


def _played_back(path: Path) -> Connection:
    """A copy in memory, without the transaction that was cut off."""
    try:
        with tempfile.TemporaryDirectory(prefix="llterm-") as folder:
            copy = Path(folder) / "copy.loom"
            shutil.copyfile(path, copy)
            shutil.copyfile(journal_of(path), journal_of(copy))
            with closing(connect(copy)) as database:
                return in_memory(database)
    except OSError as error:
        raise sqlite3.OperationalError(f"no copy to look at: {reason(error)}") from error


def in_memory(source: Connection) -> Connection:
    """A copy that can be changed and leaves the file as it is. Raises sqlite3.Error."""
    memory = sqlite3.connect(":memory:", factory=Connection, check_same_thread=False)
    memory.size = source.size
    memory.guard()
    source.backup(memory)
    return memory


def told(error: Exception) -> str:
    """What SQLite or the system says, for people: without a full stop."""
    if isinstance(error, OSError):
        return reason(error)
    return "reading it never ends" if is_endless(error) else str(error).removesuffix(".")


def is_endless(error: Exception) -> bool:
    """Whether a statement was interrupted, because it took more steps than it may."""
    return getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT


def _allowed(size: int) -> int:
    return _LEAST_STEPS + _STEPS_A_BYTE * size


def _as_text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
