"""One loom file: load, commit, and the lock that keeps a second llterm from writing."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sqlite3
import stat
import urllib.parse
from array import array
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llterm.core.history import History, Step, Value
from llterm.core.loom import Loom, Node, Piece
from llterm.core.tokens import Tail
from llterm.errors import LltermError, UsageError
from llterm.store.schema import APPLICATION, MIGRATIONS, migrate

_DISK = (
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PERM,
)  # fmt: skip
"""Codes of errors that say nothing about what the file holds."""


@dataclass(slots=True)
class Contents:
    """What a loom file holds."""

    loom: Loom = field(default_factory=Loom)
    history: History = field(default_factory=History)
    meta: dict[str, Value] = field(default_factory=dict)


@dataclass(slots=True)
class Changes:
    """Rows to write in one transaction."""

    nodes: dict[int, Node | None] = field(default_factory=dict)
    pieces: dict[int, Piece] = field(default_factory=dict)
    steps: dict[int, tuple[Step | None, bool]] = field(default_factory=dict)
    """Per row id: the step (None: it is gone) and whether it is undone."""
    meta: dict[str, Value] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.nodes or self.pieces or self.steps or self.meta)


class LoomFile:
    """An open loom file. One that another llterm has open can only be read."""

    def __init__(self, path: Path, *, new: bool = False) -> None:
        """Open, or with `new` make, the file. Raises UsageError where it is no loom."""
        self.path = path
        self.notice = ""
        """Why it can only be read; empty when it can be written."""
        self._lock = self._locked(new)
        try:
            self._database = self._connect()
        except BaseException:
            os.close(self._lock)
            if new:
                # It was made just now, and is nobody's story yet.
                path.unlink(missing_ok=True)
            raise

    @property
    def read_only(self) -> bool:
        return bool(self.notice)

    def load(self) -> Contents:
        """Everything but the alternatives at birth, which are read when asked for."""
        try:
            return self._load()
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as odd:
            raise self.broken(odd) from odd

    def commit(self, changes: Changes) -> None:
        """Write, all or nothing. Raises LltermError; nothing is lost in memory then."""
        try:
            with self._database:
                self._write(changes)
        except sqlite3.Error as error:
            raise LltermError(
                "The story could not be saved",
                f"{self.path}: {error}",
                "It is still here: make room or check the folder, then save again with Ctrl+S.",
            ) from error

    def save_weave(self, node: int, blob: bytes) -> None:
        """Keep the suggestions of one place; those of other places are let go."""
        try:
            with self._database:
                self._database.execute("delete from weave")
                if blob:
                    self._database.execute("insert into weave values (?, ?)", (node, blob))
        except sqlite3.Error as error:
            raise LltermError("The suggestions could not be kept", str(error)) from error

    def load_weave(self, node: int) -> bytes | None:
        """The suggestions kept for a place; a damaged table holds none, for they are a cache."""
        try:
            rows = self._database.execute("select blob from weave where node = ?", (node,))
            row = rows.fetchone()
        except sqlite3.Error:
            return None
        return bytes(row[0]) if row and isinstance(row[0], bytes) else None

    def close(self) -> None:
        """Close; the emptied journal beside the file goes too."""
        with suppress(sqlite3.Error):
            self._database.execute("pragma journal_mode = delete")
        self._database.close()
        os.close(self._lock)

    def _locked(self, new: bool) -> int:
        """A handle with the lock, which ends with the process however it ends."""
        flags = os.O_RDWR | (os.O_CREAT | os.O_EXCL if new else 0)
        try:
            if not new and not stat.S_ISREG(self.path.stat().st_mode):
                raise self._no_file()
            handle = os.open(self.path, flags, 0o600)
        except FileExistsError as error:
            hint = "Open it without importing, or choose another name."
            raise UsageError(f"{self.path.name} exists already", "", hint) from error
        except PermissionError as error:
            if new:
                raise self._refused(error) from error
            return self._readable()
        except OSError as error:
            if not new and error.errno == errno.EROFS:
                return self._readable()
            raise self._refused(error) from error
        with suppress(OSError):  # A file system without locks: better unguarded than unwritable.
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.notice = f"Another llterm has {self.path.name} open; here it can only be read."
        if not os.access(self.path.parent, os.W_OK):
            self.notice = self.notice or (
                f"The folder of {self.path.name} may not be written; the loom can only be read."
            )
        return handle

    def _readable(self) -> int:
        self.notice = f"{self.path.name} may not be written; it can only be read."
        try:
            return os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise self._refused(error) from error

    def _no_file(self) -> UsageError:
        what = "a folder" if self.path.is_dir() else "no ordinary file"
        return UsageError(f"{self.path} is {what}", "", "Name a .loom file.")

    def _refused(self, error: OSError) -> UsageError:
        reason = error.strerror or str(error)
        return UsageError(
            f"{self.path.name} could not be opened",
            f"{self.path}: {reason}.",
            "Check the path and the folder's permissions.",
        )

    def _connect(self) -> sqlite3.Connection:
        mode = "ro" if self.read_only else "rw"
        address = f"file:{urllib.parse.quote(str(self.path.absolute()))}?mode={mode}"
        database = sqlite3.connect(address, uri=True)
        try:
            fresh = self.path.stat().st_size == 0
            (application,) = database.execute("pragma application_id").fetchone()
            (version,) = database.execute("pragma user_version").fetchone()
            if not fresh and application != APPLICATION:
                raise UsageError(
                    f"{self.path.name} is not a loom",
                    "It is an SQLite file of another program.",
                    "Name a file that llterm made.",
                )
            if version > len(MIGRATIONS):
                raise UsageError(
                    f"{self.path.name} was written by a newer llterm",
                    f"Its format is version {version}; this llterm knows up to {len(MIGRATIONS)}.",
                    "Update llterm.",
                )
            if not self.read_only:
                database.execute("pragma journal_mode = truncate").fetchone()
                migrate(database)
        except sqlite3.Error as error:
            database.close()
            raise self._trouble(error) from error
        except ValueError as error:
            # An error message that quotes a damaged schema need not be UTF-8.
            database.close()
            raise self.broken(error) from error
        except UsageError:
            database.close()
            raise
        return database

    def _trouble(self, error: sqlite3.Error) -> LltermError:
        """What SQLite says: something about the disk, or else about what the file holds."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code not in _DISK:
            return self.broken(error)
        return LltermError(
            f"{self.path.name} could not be read or written",
            f"{self.path}: {error}.",
            "See that the disk has room and works, and that the folder may be written.",
        )

    def broken(self, error: Exception) -> UsageError:
        return UsageError(
            f"{self.path.name} is not a loom, or it is damaged",
            f"{self.path}: {error}.",
            "Open a copy of it from before. A text file must end in .txt or .md to be imported.",
        )

    def _load(self) -> Contents:
        found = Contents()
        rows = self._database.execute
        for id, data, author, created, ids, sizes, overlap, fingerprint, logprobs in rows(
            "select id, data, author, created, ids, sizes, overlap, fingerprint, logprobs"
            " from piece"
        ):
            found.loom.pieces[id] = Piece(
                id, bytes(data), author, created, None if ids is None else _numbers(ids),
                _numbers(sizes or b""), overlap, fingerprint,
                tuple(array("d", bytes(logprobs or b""))),
            )  # fmt: skip
        for row in rows("select id, parent, piece, start, stop from node order by id"):
            found.loom.put(row[0], Node(*row))
        done, undone = found.history.done, found.history.undone
        for id, label, silent, was_undone, text in rows("select * from step order by id"):
            step = _read_step(id, label, bool(silent), json.loads(text))
            (undone if was_undone else done).append(step)
        undone.reverse()
        found.meta = dict(rows("select key, value from meta"))
        found.loom.head = int(found.meta.pop("head", 1))
        found.loom.check()
        _check(found)
        return found

    def _write(self, changes: Changes) -> None:
        rows = self._database.executemany
        rows("insert or replace into piece values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
             (_piece_row(piece) for piece in changes.pieces.values()))  # fmt: skip
        gone = [(id,) for id, node in changes.nodes.items() if node is None]
        rows("delete from node where id = ?", gone)
        rows("insert or replace into node values (?, ?, ?, ?, ?)",
             _node_rows(changes.nodes.values()))  # fmt: skip
        steps = changes.steps.items()
        rows("delete from step where id = ?", [(id,) for id, (step, _) in steps if step is None])
        rows("insert or replace into step values (?, ?, ?, ?, ?)",
             [(id, step.label, step.silent, undone, _step_text(step))
              for id, (step, undone) in steps if step is not None])  # fmt: skip
        rows("insert or replace into meta values (?, ?)", changes.meta.items())


def _check(found: Contents) -> None:
    """Raise ValueError where a step speaks of a text that is not there."""
    pieces = found.loom.pieces
    for step in (*found.history.done, *found.history.undone):
        for node in (node for pair in step.nodes.values() for node in pair if node is not None):
            if node.piece not in pieces:
                raise ValueError(f"step {step.id} speaks of text that is not there")


def _numbers(data: bytes) -> Tail:
    return tuple(array("i", bytes(data)))


def _piece_row(piece: Piece) -> tuple[object, ...]:
    ids = None if piece.ids is None else array("i", piece.ids).tobytes()
    sizes, logprobs = array("i", piece.sizes).tobytes(), array("d", piece.logprobs).tobytes()
    return (piece.id, piece.data, piece.author, piece.created, ids, sizes, piece.overlap,
            piece.fingerprint, logprobs, piece.birth)  # fmt: skip


def _node_rows(nodes: Iterable[Node | None]) -> Iterable[tuple[int, ...]]:
    return ((n.id, n.parent, n.piece, n.start, n.stop) for n in nodes if n is not None)


def _step_text(step: Step) -> str:
    def row(node: Node | None) -> list[int] | None:
        return None if node is None else [node.parent, node.piece, node.start, node.stop]

    nodes = [[id, row(before), row(after)] for id, (before, after) in step.nodes.items()]
    return json.dumps({"nodes": nodes, "facts": step.facts, "splits": step.splits})


def _read_step(id: int, label: str, silent: bool, found: Mapping[str, Any]) -> Step:
    def row(node: int, numbers: list[int] | None) -> Node | None:
        return None if numbers is None else Node(node, *numbers)

    return Step(
        label,
        nodes={node: (row(node, one), row(node, two)) for node, one, two in found["nodes"]},
        facts={name: (before, after) for name, (before, after) in found["facts"].items()},
        splits=[(left, right) for left, right in found["splits"]],
        silent=silent,
        id=id,
    )
