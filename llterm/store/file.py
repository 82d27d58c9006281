"""One loom file: make, load and commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path

from llterm.core.history import PAGE, History, UndoStep
from llterm.core.loom_tree import ROOT, LoomTree
from llterm.core.pieces import Pieces
from llterm.errors import LltermError, UsageError
from llterm.store.database import Connection, connect, in_memory, to_look, told
from llterm.store.late_reads import ODD, LateReads
from llterm.store.lock import Lock, check_name, taken, unopened
from llterm.store.loom_news import LoomNews, read_news
from llterm.store.loom_schema import APPLICATION, MIGRATIONS, check_schema, header, migrate
from llterm.store.stored_rows import (
    Changes,
    Contents,
    check_step,
    marks_row,
    node_row,
    piece_row,
    read_marks,
    read_node,
    read_sight,
    read_step,
    read_text,
    step_text,
    survey,
)
from llterm.store.stored_settings import read_setting
from llterm.whole_file import beside

_DISK = (
    sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PERM,
)  # fmt: skip
"""Codes of errors that say nothing about what the file holds."""

MOST_SAMPLED = 200
"""Places whose samples are kept."""


class LoomFile:
    """An open loom file. One that another llterm has open can only be read."""

    def __init__(
        self,
        path: Path,
        *,
        new: bool = False,
        reading: bool = False,
        waiting: Callable[[str], None] | None = None,
    ) -> None:
        """Open, or with `new` make, the file. Raises UsageError where it is no loom.

        `reading`: whoever wants to may write meanwhile, until `take`. With `waiting` another llterm
        gets a moment to end (`store.lock`).
        """
        self.path = path
        self.damage = ""
        """What `load` found damaged besides what it returned; empty where all is sound."""
        self.loaded = 0
        """The version of which `load` returned the contents."""
        self._lock = Lock(path, new=new, reading=reading, waiting=waiting)
        try:
            self.database = self._connect()
        except BaseException:
            self._lock.close()
            if new:
                # It was made just now, and is nobody's story yet.
                path.unlink(missing_ok=True)
            raise
        self.late = LateReads(self.database, self._trouble)
        """Reads what is not read at once."""

    @property
    def notice(self) -> str:
        """Why it can only be read; empty when it can be written."""
        return self._lock.notice

    @property
    def read_only(self) -> bool:
        return bool(self.notice)

    @property
    def held(self) -> bool:
        """Whether somebody else was found to write it, when that was asked last."""
        return self._lock.held

    @property
    def in_place(self) -> bool:
        """Whether it still is what its path names: it was neither renamed nor deleted."""
        try:
            self._lock.check()
        except OSError:
            return False
        return True

    def take(self) -> bool:
        """Become the one who writes. Returns whether that is so; `notice` says why not.

        What others wrote meanwhile is to be read then. Raises LltermError.
        """
        if not self.read_only:
            return True
        if not self._lock.take():
            return False
        try:
            self._lock.check()
            database = self._connect()
        except OSError as error:
            self._lock.release()
            raise self._lost(told(error)) from error
        except BaseException:
            self._lock.release()
            raise
        self.database.close()
        self.database = database
        self.late.read_from(database)
        return True

    def release(self) -> None:
        """Let others write; what is not committed by then never was."""
        with suppress(sqlite3.Error):
            self.database.execute("pragma journal_mode = delete")
            self.database.execute("pragma query_only = on")
        self._lock.release()

    def version(self) -> int:
        """A number that changes when another connection has written. Raises LltermError."""
        try:
            (version,) = self.database.execute("pragma data_version").fetchone()
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        return int(version)

    def news(self, history: History, newest_piece: int) -> LoomNews | None:
        """What was written since this history was read of it; None where all of it is to be read
        anew. Raises LltermError."""
        try:
            return read_news(self.database, history, newest_piece)
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        except ODD:
            return None

    def load(self) -> Contents:
        """The tree and its texts, the last steps and all undone ones.

        Tokens, earlier steps and the births of texts are read when they are asked for.
        """
        self.loaded = self.version()
        try:
            return self._load()
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        except ODD as odd:
            raise self.broken(odd) from odd

    def commit(self, changes: Changes) -> None:
        """Write, all or nothing. Raises LltermError; nothing is lost in memory then."""
        try:
            self._lock.check()
            with self.database:
                self._write(changes)
        except (sqlite3.Error, OSError) as error:
            raise LltermError(
                "The story could not be saved",
                f"{self.path}: {told(error)}.",
                "It is still here. Make room, or save it elsewhere with Alt+E.",
            ) from error

    def check(self, pieces: int, nodes: int) -> None:
        """See that so many of both are on disk, whatever is known of it here.

        Raises LltermError where there are fewer, or where it cannot be seen.
        """
        try:
            self._lock.check()
            with closing(to_look(self.path)) as database:
                counts = database.execute(
                    "select (select count(*) from piece), (select count(*) from node)"
                ).fetchone()
        except (sqlite3.Error, OSError, ValueError) as error:
            raise self._lost(told(error)) from error
        if counts[0] < pieces or counts[1] < nodes:
            raise self._lost("it holds less than it did; something else wrote to it")

    def _lost(self, reason: str) -> LltermError:
        return LltermError(
            "The file does not hold the story any more",
            f"{self.path}: {reason}.",
            "It is still here. Save it elsewhere with Alt+E.",
        )

    def save_weave(self, node: int, blob: bytes) -> None:
        """Keep the suggestions of one place; those of other places are let go."""
        try:
            with self.database:
                self.database.execute("delete from weave")
                if blob:
                    self.database.execute("insert into weave values (?, ?)", (node, blob))
        except sqlite3.Error as error:
            raise LltermError("The suggestions could not be kept", str(error)) from error

    def save_samples(self, place: int, drawn: float, blob: bytes) -> None:
        """Keep the samples drawn at a place, with when; of too many places the oldest go."""
        try:
            with self.database:
                self.database.execute(
                    "insert or replace into lines values (?, ?, ?)", (place, drawn, blob)
                )
                self.database.execute(
                    "delete from lines where place in"
                    " (select place from lines order by drawn desc limit -1 offset ?)",
                    (MOST_SAMPLED,),
                )
        except sqlite3.Error as error:
            raise LltermError("The samples could not be kept", str(error)) from error

    def close(self) -> None:
        """Close; the emptied journal beside the file goes too."""
        with suppress(sqlite3.Error):
            if not self.read_only:  # The journal is that of whoever writes.
                self.database.execute("pragma journal_mode = delete")
        with suppress(sqlite3.Error):
            self.database.close()
        self._lock.close()

    def broken(self, error: Exception) -> UsageError:
        return UsageError(
            f"{self.path.name} is not a loom, or it is damaged",
            f"{self.path}: {told(error)}.",
            f"See what can be saved: llterm doctor '{self.path}'. "
            "A text file must end in .txt or .md to be imported.",
        )

    def _connect(self) -> Connection:
        try:
            database = to_look(self.path) if self.read_only else connect(self.path)
        except sqlite3.Error as error:
            raise self._trouble(error) from error
        try:
            return self._checked(database)
        except sqlite3.Error as error:
            database.close()
            raise self._trouble(error) from error
        except ValueError as error:
            # Damage; or an error message that quotes a damaged schema and is not UTF-8.
            database.close()
            raise self.broken(error) from error
        except UsageError:
            database.close()
            raise

    def _checked(self, database: Connection) -> Connection:
        """The database in the present version."""
        fresh = self.path.stat().st_size == 0
        application, version = header(database)
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
        if not fresh:
            check_schema(database, version)
        if not self.read_only:
            database.execute("pragma journal_mode = truncate").fetchone()
            migrate(database)
        elif version < len(MIGRATIONS):
            # An older loom that may not be written is brought up to date in memory.
            memory = in_memory(database)
            database.close()
            migrate(memory)
            return memory
        return database

    def _trouble(self, error: Exception) -> LltermError:
        """What was raised says something about the disk, or else about what the file holds."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code not in _DISK and not isinstance(error, OSError):
            return self.broken(error)
        return LltermError(
            f"{self.path.name} could not be read or written",
            f"{self.path}: {told(error)}.",
            "See that the disk has room and works, and that the folder may be written.",
        )

    def _load(self) -> Contents:
        rows = self.database.rows
        texts = dict(read_text(*row) for row in rows("select id, data from piece", first=1))
        loom = LoomTree(pieces=Pieces(texts, partial(self.late.pieces, texts)))
        nodes = "select id, parent, piece, start, stop, more from node order by id"
        loom.fill({row[0]: read_node(row) for row in rows(nodes, first=5)})
        marks = "select node, bookmark, rating, tags, note, sort from mark"
        loom.marks = dict(map(read_marks, rows(marks)))
        for node, folded, unread in map(read_sight, rows("select node, folded, unread from sight")):
            loom.sight.folded |= {node} if folded else set()
            loom.sight.unread |= {node} if unread else set()
        contents = Contents(loom, self._history())
        for name, value in rows("select key, value from meta"):
            contents.meta[name] = read_setting(name, value)
        loom.head = int(contents.meta.pop("head", ROOT))
        loom.sight.hoisted = int(contents.meta.pop("hoisted", ROOT))
        loom.check()
        for step in (*contents.history.done, *contents.history.undone):
            check_step(step, loom)
        contents.history.check(loom)
        if damage := survey(self.database, loom):
            self.damage = (
                f"{self.path.name} is damaged: {damage}. The story is shown as far as it is sound. "
                f"See what can be saved: llterm doctor '{self.path}'"
            )
        return contents

    def _history(self) -> History:
        undone = self._steps("undone order by id desc")
        done = self._steps("not undone order by id desc limit ?", PAGE)[::-1]
        if len(done) < PAGE:
            return History(done, undone)
        return History(done, undone, self.late.steps, done[0].id)

    def _steps(self, which: str, *values: int) -> list[UndoStep]:
        sql = f"select id, label, silent, undone, rows from step where {which}"
        return [read_step(row)[0] for row in self.database.rows(sql, values)]

    def _write(self, changes: Changes) -> None:
        rows = self.database.executemany
        rows("insert or replace into piece values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
             map(piece_row, changes.pieces.values()))  # fmt: skip
        nodes, marks = changes.nodes.items(), changes.marks.items()
        rows("delete from node where id = ?", [(id,) for id, node in nodes if node is None])
        rows("insert or replace into node values (?, ?, ?, ?, ?, ?)",
             [node_row(node) for _, node in nodes if node is not None])  # fmt: skip
        rows("delete from mark where node = ?", [(id,) for id, noted in marks if noted is None])
        rows("insert or replace into mark values (?, ?, ?, ?, ?, ?)",
             [marks_row(id, noted) for id, noted in marks if noted is not None])  # fmt: skip
        rows("insert or replace into sight values (?, ?, ?)",
             ((node, *seen) for node, seen in changes.sight.items()))  # fmt: skip
        steps = changes.steps.items()
        rows("delete from step where id = ?", [(id,) for id, (step, _) in steps if step is None])
        rows("insert or replace into step values (?, ?, ?, ?, ?)",
             [(id, step.label, step.silent, undone, step_text(step))
              for id, (step, undone) in steps if step is not None])  # fmt: skip
        rows("insert or replace into extra values (?, ?)", changes.extras.items())
        rows("insert or replace into meta values (?, ?)", changes.meta.items())


@contextmanager
def fresh_loom(path: Path) -> Iterator[LoomFile]:
    """A new loom to fill. It stands at `path` once the block has ended, and nowhere if it raises.

    Raises UsageError where something is there or nothing can be made, and what filling it raises.
    """
    part = path
    try:
        check_name(path)
        with beside(path, new=True) as part, closing(LoomFile(part, new=True)) as file:
            yield file
    except FileExistsError as error:
        raise taken(path) from error
    except OSError as error:
        raise unopened(path, error) from error
    except LltermError as error:
        # Of the part nobody knows.
        for name in ("title", "cause", "hint"):
            setattr(error, name, getattr(error, name).replace(part.name, path.name))
        raise
