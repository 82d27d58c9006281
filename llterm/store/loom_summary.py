"""What a loom is about, read in a moment: for lists of looms."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from llterm.core.display_text import visible
from llterm.core.loom_tree import ROOT, LoomNode
from llterm.errors import reason
from llterm.store.database import Connection, to_look, told
from llterm.store.loom_schema import APPLICATION, MIGRATIONS, check_schema, header
from llterm.store.stored_rows import read_node, read_text
from llterm.store.stored_settings import read_setting
from llterm.store.values import Damage

_SHOWN = 80
"""Bytes of the beginning and of the end."""
_PATH = """
    with recursive up(id, parent, piece, start, stop, more, depth) as (
        select id, parent, piece, start, stop, {more}, 0 from node where id = ?
        union all
        select n.id, n.parent, n.piece, n.start, n.stop, {more_n}, depth + 1
        from node n join up on n.id = up.parent
        limit ?
    )
    select id, parent, piece, start, stop, more from up order by depth desc
"""


@dataclass(frozen=True, slots=True)
class LoomSummary:
    """A loom in a list."""

    path: Path
    changed: float
    """Seconds since 1970."""
    beginning: str = ""
    """The story's first words, as they may be shown."""
    ending: str = ""
    """Its last words: where it was left."""
    size: int = 0
    """Bytes of the story."""
    nodes: int = 0
    trouble: str = ""
    """Why nothing can be told of it; empty where all is well."""

    @property
    def title(self) -> str:
        return self.path.stem


def read_summary(path: Path) -> LoomSummary:
    """The card of a loom. One that cannot be read says why; nothing is raised."""
    changed = 0.0
    try:
        changed = path.stat().st_mtime
        with closing(to_look(path)) as database:
            return _read(path, changed, database)
    except OSError as error:
        return LoomSummary(path, changed, trouble=reason(error))
    except (sqlite3.Error, ValueError) as error:
        return LoomSummary(path, changed, trouble=f"damaged: {told(error)}")


def _read(path: Path, changed: float, database: Connection) -> LoomSummary:
    application, version = header(database)
    if application != APPLICATION:
        return LoomSummary(path, changed, trouble="not a loom")
    if version > len(MIGRATIONS):
        return LoomSummary(path, changed, trouble="written by a newer llterm")
    check_schema(database, version)
    every, nodes = database.execute("select count(*), total(parent != 0) from node").fetchone()
    kept = database.execute("select value from meta where key = 'head'").fetchone()
    head = read_setting("head", kept[0]) if kept is not None else ROOT
    more = ("more", "n.more") if version > 1 else ("null", "null")
    # More nodes than there are lie above one another only in a ring.
    rows = database.execute(_PATH.format(more=more[0], more_n=more[1]), (head, every + 1))
    story = [read_node(row) for row in rows]
    if len(story) > every:
        raise Damage("nodes hang under one another in a ring")
    if (story[0].parent if story else head) != ROOT:
        raise Damage("where the story ends is not in the tree")
    return LoomSummary(
        path,
        changed,
        visible(_text(database, story, _SHOWN)).replace("⏎", " "),
        visible(_text(database, story, -_SHOWN)).replace("⏎", " "),
        sum(node.size for node in story),
        int(nodes),
    )


def _text(database: Connection, story: list[LoomNode], size: int) -> bytes:
    """The first bytes of the story, or with a negative size its last ones."""
    parts = [one for node in story for one in node.slices]
    parts_read: list[bytes] = []
    for piece, start, stop in parts if size > 0 else reversed(parts):
        row = database.execute(
            "select substr(data, ?, ?) from piece where id = ?", (start + 1, stop - start, piece)
        ).fetchone()
        if row is None:
            raise Damage("a text is missing")
        parts_read.append(read_text(piece, row[0])[1])
        if sum(map(len, parts_read)) >= abs(size):
            break
    return b"".join(parts_read)[:size] if size > 0 else b"".join(reversed(parts_read))[size:]
