"""Reads what can be read of a damaged loom file, row by row."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llterm.core.history import Step
from llterm.core.loom import Marks, Node, Piece
from llterm.store.looking import to_look
from llterm.store.rows import read_marks, read_node, read_piece, read_step
from llterm.store.schema import APPLICATION, MIGRATIONS

_TABLES = {
    "piece": "id", "node": "id", "step": "id", "mark": "node", "sight": "node", "extra": "node",
    "lines": "place", "meta": "key",
}  # fmt: skip
_ODD = (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError)
_UNREADABLE = (sqlite3.Error, ValueError)
"""An error message that quotes a damaged schema need not be UTF-8: ValueError."""
_TRIES = 200
"""Gaps in a table that are jumped over."""


@dataclass(slots=True)
class Found:
    """Rows that make sense by themselves, and how many do not."""

    pieces: dict[int, Piece] = field(default_factory=dict)
    nodes: dict[int, Node] = field(default_factory=dict)
    steps: list[tuple[Step, bool]] = field(default_factory=list)
    marks: dict[int, Marks] = field(default_factory=dict)
    sight: dict[int, tuple[bool, bool]] = field(default_factory=dict)
    extras: dict[int, str] = field(default_factory=dict)
    lines: dict[int, tuple[float, bytes]] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    """Per table: rows, or stretches of them, that could not be read."""
    readable: bool = True
    """It is a database at all, and one of ours."""
    newer: bool = False

    def miss(self, table: str) -> None:
        self.lost[table] = self.lost.get(table, 0) + 1


def salvage(path: Path) -> Found:
    """Everything that can be read."""
    found = Found()
    with closing(to_look(path)) as database:
        database.text_factory = lambda data: data.decode("utf-8", "replace")
        try:
            # Else a file that was cut off is refused whole.
            database.execute("pragma writable_schema = on")
            (application,) = database.execute("pragma application_id").fetchone()
            (version,) = database.execute("pragma user_version").fetchone()
            found.newer = version > len(MIGRATIONS)
            found.readable = application == APPLICATION and not found.newer
            if not found.readable:
                return found
            if database.execute("pragma integrity_check(1)").fetchone() != ("ok",):
                found.miss("page")
        except _UNREADABLE:
            found.miss("page")
        for table in _TABLES:
            for row in _rows(database, table, found):
                try:
                    _take(found, table, row)
                except _ODD:
                    found.miss(table)
    return found


def _rows(database: sqlite3.Connection, table: str, found: Found) -> Iterator[tuple[Any, ...]]:
    """The rows of a table; what cannot be read is stepped over."""
    key = _TABLES[table]
    if table in ("mark", "sight", "extra", "lines"):
        with suppress(*_UNREADABLE):
            (there,) = database.execute(
                "select count(*) from sqlite_master where name = ?", (table,)
            ).fetchone()
            if not there:
                return  # A loom of an older version has none.
    last: Any = "" if table == "meta" else -(1 << 60)
    for gap in range(_TRIES):
        try:
            rows = database.execute(
                f"select * from {table} where {key} > ? order by {key}", (last,)
            )
            for row in rows:
                last = row[0]
                yield row
            return
        except _UNREADABLE:
            found.miss(table)
            if not isinstance(last, int):
                return
            # Rows of one broken page lie together: step on further each time.
            last = max(last, 0) + (1 << min(gap, 20))


def _take(found: Found, table: str, row: tuple[Any, ...]) -> None:
    if table == "piece":
        id, data, author, created, ids, sizes, overlap, fingerprint, logprobs, birth = row
        if not isinstance(id, int) or not isinstance(data, bytes) or not data:
            raise ValueError("no text")
        rest = id, str(author), float(created), ids, sizes, int(overlap), fingerprint, logprobs
        piece = read_piece(rest, data)
        found.pieces[id] = Piece(
            id, data, piece.author, piece.created, piece.ids, piece.sizes, piece.overlap,
            str(piece.fingerprint), piece.logprobs, str(birth),
        )  # fmt: skip
    elif table == "node":
        id, parent, piece_id, start, stop, *more = row
        if not all(isinstance(one, int) for one in (id, parent, piece_id, start, stop)):
            raise ValueError("no numbers")
        found.nodes[id] = read_node(id, parent, piece_id, start, stop, more[0] if more else None)
    elif table == "step":
        id, label, silent, undone, text = row
        step = read_step(int(id), str(label), bool(silent), json.loads(text))
        found.steps.append((step, bool(undone)))
    elif table == "mark":
        node, marks = read_marks(row)
        found.marks[int(node)] = marks
    elif table == "sight":
        found.sight[int(row[0])] = bool(row[1]), bool(row[2])
    elif table == "extra":
        json.loads(row[1])
        found.extras[int(row[0])] = str(row[1])
    elif table == "lines":
        found.lines[int(row[0])] = float(row[1]), bytes(row[2])
    else:
        found.meta[str(row[0])] = row[1]
