"""Reads what can be read of a damaged loom file, row by row."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from llterm.core.history import UndoStep
from llterm.core.loom_tree import LoomNode, Marks, Piece
from llterm.store.database import Connection, Row, is_endless, to_look
from llterm.store.loom_schema import (
    APPLICATION,
    MIGRATIONS,
    check_schema,
    columns,
    header,
    is_plain_table,
)
from llterm.store.stored_rows import (
    piece_or_text,
    read_extra,
    read_marks,
    read_node,
    read_samples,
    read_sight,
    read_step,
    read_text,
)
from llterm.store.stored_settings import read_setting
from llterm.store.values import Damage, text

_TABLES = ("piece", "node", "step", "mark", "sight", "extra", "lines", "meta")
_UNREADABLE = (sqlite3.Error, ValueError)
"""An error message that quotes a damaged schema need not be UTF-8: ValueError."""
_FIRST = 5
"""Columns of a node of the first version."""
_FARTHEST = 1 << 63
_TRIES = 200
"""Gaps in a table that are jumped over."""


@dataclass(slots=True)
class Salvaged:
    """Rows that make sense by themselves, and how many do not."""

    pieces: dict[int, Piece] = field(default_factory=dict)
    nodes: dict[int, LoomNode] = field(default_factory=dict)
    steps: list[tuple[UndoStep, bool]] = field(default_factory=list)
    marks: dict[int, Marks] = field(default_factory=dict)
    sight: dict[int, tuple[bool, bool]] = field(default_factory=dict)
    extras: dict[int, str] = field(default_factory=dict)
    samples: dict[int, tuple[float, bytes]] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    odd: dict[str, str] = field(default_factory=dict)
    """Names of what is kept in `meta` whose values make no sense, with why."""
    lost: dict[str, int] = field(default_factory=dict)
    """Per table: rows, or stretches of them, that could not be read."""
    readable: bool = True
    """It is a database at all, and one of ours."""
    newer: bool = False
    version: int = 1
    """Of the format."""
    schema: str = ""
    """What is not a loom's schema; empty where all of it is."""

    def miss(self, table: str) -> None:
        self.lost[table] = self.lost.get(table, 0) + 1


def salvage(path: Path) -> Salvaged:
    """Everything that can be read."""
    salvaged = Salvaged()
    with closing(to_look(path)) as database:
        try:
            # Else a file that was cut off is refused whole.
            database.execute("pragma writable_schema = on")
            database.execute("pragma query_only = on")
            application, version = header(database)
            salvaged.newer = version > len(MIGRATIONS)
            salvaged.readable = application == APPLICATION and not salvaged.newer
            if not salvaged.readable:
                return salvaged
            salvaged.version = max(version, 1)
            check_schema(database, version)
            # Only where nothing but plain tables is checked.
            if database.execute("pragma integrity_check(1)").fetchone() != ("ok",):
                salvaged.miss("page")
        except Damage as damage:
            salvaged.schema = str(damage)
        except _UNREADABLE:
            salvaged.miss("page")
        for table in _TABLES:
            if table not in columns(salvaged.version):
                continue  # A loom of an older version has none.
            for row in _rows(database, table, salvaged):
                try:
                    _take(salvaged, table, row)
                except Damage:
                    salvaged.miss(table)
    return salvaged


def _rows(database: Connection, table: str, salvaged: Salvaged) -> Iterator[Row]:
    """The rows of a table; what cannot be read is stepped over."""
    try:
        if not is_plain_table(database, table):
            salvaged.miss(table)
            return
    except _UNREADABLE:
        salvaged.miss(table)
        return
    names = columns(salvaged.version)[table]
    key = names[0]
    last: Any = "" if table == "meta" else -_FARTHEST
    for gap in range(_TRIES):
        try:
            rows = database.rows(
                f"select {', '.join(names)} from {table} where {key} > ? order by {key}", (last,)
            )
            for row in rows:
                if type(row[0]) is not type(last) or row[0] <= last:
                    raise Damage("pages lead back to themselves")
                last = row[0]
                yield row
            return
        except _UNREADABLE as error:
            salvaged.miss(table)
            if not isinstance(last, int) or is_endless(error):
                return
            # Rows of one broken page lie together: step on further each time.
            last = min(max(last, 0) + (1 << min(gap, 20)), _FARTHEST - 1)


def _take(salvaged: Salvaged, table: str, row: Row) -> None:
    if table == "piece":
        id, data, *rest, birth = row
        id, data = read_text(id, data)
        piece, whole = piece_or_text((id, *rest), data)
        if not (whole and isinstance(birth, str)):
            salvaged.miss("token")
        salvaged.pieces[id] = replace(piece, birth=birth if isinstance(birth, str) else "")
    elif table == "node":
        node = read_node(row if len(row) > _FIRST else (*row, None))
        salvaged.nodes[node.id] = node
    elif table == "step":
        salvaged.steps.append(read_step(row))
    elif table == "mark":
        id, marks = read_marks(row)
        salvaged.marks[id] = marks
    elif table == "sight":
        id, folded, unread = read_sight(row)
        salvaged.sight[id] = folded, unread
    elif table == "extra":
        id, fields = read_extra(row)
        salvaged.extras[id] = fields
    elif table == "lines":
        place, drawn, blob = read_samples(row)
        salvaged.samples[place] = drawn, blob
    else:
        name = text(row[0])
        try:
            salvaged.meta[name] = read_setting(name, row[1])
        except Damage as damage:
            salvaged.odd[name] = str(damage)
