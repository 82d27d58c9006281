"""What a loom file holds, and what its rows mean. What reads raises `Damage`."""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from llterm.core.history import History, UndoStep, Value
from llterm.core.json_text import json_text
from llterm.core.loom_tree import PERSON, ROOT, LoomNode, LoomTree, Marks, Piece, PieceSlice
from llterm.core.pieces import Pieces
from llterm.core.tokens import Tail
from llterm.core.tree_outline import ORDERS
from llterm.number_format import count_of
from llterm.store.database import Connection, Row, told
from llterm.store.stored_settings import read_setting
from llterm.store.values import (
    MOST_ID,
    NEWEST,
    OLDEST,
    Damage,
    data,
    flag,
    id_of,
    json_of,
    moment,
    text,
    whole,
)


@dataclass(slots=True)
class Contents:
    """What a loom file holds."""

    loom: LoomTree = field(default_factory=LoomTree)
    history: History = field(default_factory=History)
    meta: dict[str, Value] = field(default_factory=dict)


@dataclass(slots=True)
class Changes:
    """Rows to write in one transaction."""

    nodes: dict[int, LoomNode | None] = field(default_factory=dict)
    pieces: dict[int, Piece] = field(default_factory=dict)
    marks: dict[int, Marks | None] = field(default_factory=dict)
    sight: dict[int, tuple[bool, bool]] = field(default_factory=dict)
    """Per node: whether it is folded, and whether it is unread."""
    steps: dict[int, tuple[UndoStep | None, bool]] = field(default_factory=dict)
    """Per row id: the step (None: it is gone) and whether it is undone."""
    extras: dict[int, str] = field(default_factory=dict)
    """Per node: fields of another program's file, as JSON."""
    meta: dict[str, Value] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any((self.nodes, self.pieces, self.marks, self.sight, self.steps, self.extras,
                    self.meta))  # fmt: skip


BEST = 5
"""The highest rating."""
_REAL, _WHOLE = 8, 4
"""Bytes of a number."""


def read_piece(row: Row, content: bytes) -> Piece:
    """A piece without its birth, whose text is known already."""
    id, author, created, ids, sizes, overlap, fingerprint, logprobs = row
    tokens = None if ids is None else _numbers(ids)
    lengths = _numbers(b"" if sizes is None else sizes)
    if len(lengths) != len(tokens or ()):
        raise Damage(f"text {id} has {len(tokens or ())} tokens and {len(lengths)} sizes")
    return Piece(
        id_of(id), content, text(author), moment(created), tokens, lengths,
        whole(overlap), text(fingerprint),
        tuple(array("d", data(b"" if logprobs is None else logprobs, _REAL))),
    )  # fmt: skip


def piece_or_text(row: Row, content: bytes) -> tuple[Piece, bool]:
    """A piece, and whether it is whole: one whose tokens make no sense is a text without tokens."""
    try:
        return read_piece(row, content), True
    except Damage:
        id, author, *_ = row
        known = author if isinstance(author, str) else PERSON
        return Piece(id_of(id), content, known), False


def read_text(id: object, content: object) -> tuple[int, bytes]:
    """A piece's id and its text."""
    if not data(content):
        raise Damage(f"text {id} is empty")
    return id_of(id), data(content)


def piece_row(piece: Piece) -> Row:
    ids = None if piece.ids is None else array("i", piece.ids).tobytes()
    sizes, logprobs = array("i", piece.sizes).tobytes(), array("d", piece.logprobs).tobytes()
    return (piece.id, piece.data, piece.author, piece.created, ids, sizes, piece.overlap,
            piece.fingerprint, logprobs, piece.birth)  # fmt: skip


def read_node(row: Row) -> LoomNode:
    """A node; the last column holds the slices after the first, three numbers each."""
    id, parent, piece, start, stop, more = row
    # Not `whole` five times: there may be a hundred thousand of them.
    if not type(id) is type(parent) is type(piece) is type(start) is type(stop) is int:
        raise Damage(f"node {str(id)[:20]} has no numbers")
    if not (ROOT < id <= MOST_ID and 0 <= parent <= MOST_ID):
        raise Damage(f"node {id} cannot be under {parent}: ids go from {ROOT + 1} to {MOST_ID}")
    if not (0 <= start < stop <= MOST_ID and 0 < piece <= MOST_ID):
        raise Damage(f"node {id} has no text")
    first = PieceSlice(piece, start, stop)
    if more is None:
        return LoomNode(id, parent, (first,))
    return LoomNode(id, parent, (first, *_slices(_numbers(more))))


def node_row(node: LoomNode) -> Row:
    first, *more = node.slices
    rest = array("i", [number for one in more for number in one]).tobytes() if more else None
    return (node.id, node.parent, *first, rest)


def read_marks(row: Row) -> tuple[int, Marks]:
    node, bookmark, rating, tags, note, order = row
    listed = json_of(tags)
    if not isinstance(listed, list):
        raise Damage(f"the tags of node {node} are no list")
    if order and order not in ORDERS:
        raise Damage(f"node {node} is sorted by nothing that is known")
    return id_of(node), Marks(
        flag(bookmark), whole(rating, 0, BEST), tuple(map(text, listed)), text(note), text(order)
    )


def marks_row(node: int, marks: Marks) -> Row:
    tags = json_text(marks.tags, bytes_kept=True)
    return (node, marks.bookmark, marks.rating, tags, marks.note, marks.order)


def step_text(step: UndoStep) -> str:
    """A step's rows as JSON. A node is its parent and then three numbers a slice."""

    def row(node: LoomNode | None) -> list[int] | None:
        if node is None:
            return None
        return [node.parent, *(number for one in node.slices for number in one)]

    fields: dict[str, object] = {
        "nodes": [[id, row(before), row(after)] for id, (before, after) in step.nodes.items()],
        "facts": step.facts,
        "splits": step.splits,
    }
    if step.marks:
        fields["marks"] = [
            [marks_row(id, before), marks_row(id, after)]
            for id, (before, after) in step.marks.items()
        ]
    if step.reshapes:
        fields["reshapes"] = True
    return json_text(fields, compact=True, bytes_kept=True)


def read_step(row: Row) -> tuple[UndoStep, bool]:
    """A step, and whether it is undone."""
    id, label, silent, undone, rows = row
    return step_of(id, label, silent, json_of(rows)), flag(undone)


def step_of(id: object, label: object, silent: object, rows: object) -> UndoStep:
    """A step from its rows as JSON has them."""
    known = _object(rows)
    step = UndoStep(text(label), silent=flag(silent), id=id_of(id))
    for node, before, after in _lists(known.get("nodes"), 3):
        step.nodes[whole(node, ROOT + 1)] = _row(node, before), _row(node, after)
    for before, after in _lists(known.get("marks", []), 2):
        (node_before, first), (node_after, second) = (
            read_marks(tuple(row)) for row in _lists([before, after], 6)
        )
        if node_before != node_after:
            raise Damage(
                f"a step takes the notes of node {node_before} for those of node {node_after}"
            )
        step.marks[node_before] = first, second
    for name, sides in _object(known.get("facts")).items():
        for before, after in _lists([sides], 2):
            step.facts[name] = read_setting(name, before), read_setting(name, after)
    step.splits += ((id_of(left), id_of(right)) for left, right in _lists(known.get("splits"), 2))
    step.reshapes = flag(known.get("reshapes", False))
    return step


def check_step(step: UndoStep, loom: LoomTree) -> None:
    """Raise Damage where a step speaks of a text that is not there."""
    texts = loom.pieces.texts
    for node in (node for pair in step.nodes.values() for node in pair if node is not None):
        for piece, start, stop in node.slices:
            if not 0 <= start < stop <= len(texts.get(piece, b"")):
                raise Damage(f"step {step.id} speaks of text that is not there")


def _row(node: int, numbers: object) -> LoomNode | None:
    if numbers is None:
        return None
    if not isinstance(numbers, list) or not numbers:
        raise Damage(f"a step holds no row for node {node}")
    parent, *rest = map(whole, numbers)
    return LoomNode(node, parent, _slices(rest))


def _object(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Damage("a step is no object")
    return value


def _lists(value: object, size: int) -> Iterator[list[Any]]:
    """The members of a list, each a list of so many values."""
    if not isinstance(value, list):
        raise Damage("a step lacks a list")
    for member in value:
        if not isinstance(member, list) or len(member) != size:
            raise Damage(f"a step holds a list that has not {size} members")
        yield member


def read_sight(row: Row) -> tuple[int, bool, bool]:
    """A node, and whether it is folded and unread."""
    node, folded, unread = row
    return id_of(node), flag(folded), flag(unread)


def read_extra(row: Row) -> tuple[int, str]:
    """A node, and other programs' fields of it as JSON."""
    node, fields = row
    if not isinstance(json_of(fields), dict):
        raise Damage(f"the other fields of node {node} are no object")
    return id_of(node), text(fields)


def read_samples(row: Row) -> tuple[int, float, bytes]:
    """A place, and the samples drawn there, with when."""
    place, drawn, blob = row
    return whole(place, -(1 << 63), (1 << 63) - 1), moment(drawn), data(blob)


def check_changes(changes: Changes) -> None:
    """Raise Damage where these rows, written to a new loom, would not be read again."""
    for piece in changes.pieces.values():
        id, content, *rest, _ = piece_row(piece)
        read_piece((id, *rest), read_text(id, content)[1])
    for node in filter(None, changes.nodes.values()):
        read_node(node_row(node))
    for id, marks in changes.marks.items():
        read_marks(marks_row(id, marks or Marks()))
    for id, seen in changes.sight.items():
        read_sight((id, *seen))
    for extra in changes.extras.items():
        read_extra(extra)
    for name, value in changes.meta.items():
        read_setting(name, value)
    texts = {id: piece.data for id, piece in changes.pieces.items()}
    loom = LoomTree(pieces=Pieces(texts), head=int(changes.meta.get("head", ROOT)))
    loom.fill({id: node for id, node in sorted(changes.nodes.items()) if node is not None})
    loom.check()
    loom.marks = {id: marks for id, marks in changes.marks.items() if marks is not None}
    steps = sorted((id, step, undone) for id, (step, undone) in changes.steps.items() if step)
    for _, step, _ in steps:
        check_step(step, loom)
    done = [step for _, step, undone in steps if not undone]
    History(done, [step for _, step, undone in reversed(steps) if undone]).check(loom)


def _slices(numbers: Iterable[int]) -> tuple[PieceSlice, ...]:
    flat = tuple(numbers)
    if not flat or len(flat) % len(PieceSlice._fields):
        raise Damage("a node holds part of a slice")
    each = iter(flat)
    return tuple(PieceSlice(*three) for three in zip(each, each, each, strict=True))


def _numbers(packed: object) -> Tail:
    return tuple(array("i", data(packed, _WHOLE)))


_STEPS_SURVEYED = 5_000
_SOUND = f"""
    typeof(author) = 'text' and typeof(fingerprint) = 'text' and typeof(birth) = 'text'
    and typeof(created) in ('real', 'integer') and created between {OLDEST} and {NEWEST}
    and typeof(overlap) = 'integer' and overlap between 0 and {MOST_ID}
    and typeof(ids) in ('blob', 'null') and coalesce(length(ids), 0) % 4 = 0
    and typeof(sizes) in ('blob', 'null')
    and coalesce(length(sizes), 0) = coalesce(length(ids), 0)
    and typeof(logprobs) in ('blob', 'null') and coalesce(length(logprobs), 0) % 8 = 0
"""
"""Of a text, what `read_piece` takes."""


def survey(database: Connection, loom: LoomTree) -> str:
    """The first damage in what opening a loom does not need; empty where there is none.

    A check of the pages costs little. Texts' tokens are only weighed by SQLite, and of the history
    so many steps are read; the rest is read when it is come to, or by `llterm doctor`.
    """
    try:
        if database.execute("pragma integrity_check(1)").fetchone() != ("ok",):
            return "its pages are damaged"
        odd = database.execute(f"select count(*) from piece where ({_SOUND}) is not 1").fetchone()
        if odd != (0,):
            return count_of(odd[0], "text has lost its tokens", "texts have lost their tokens")
        for row in database.rows("select node, fields from extra"):
            read_extra(row)
        for row in database.rows("select place, drawn, blob from lines"):
            read_samples(row)
        steps = "select id, label, silent, undone, rows from step order by id desc limit ?"
        for row in database.rows(steps, (_STEPS_SURVEYED,)):
            check_step(read_step(row)[0], loom)
    except (sqlite3.Error, ValueError) as error:
        return told(error)
    return ""
