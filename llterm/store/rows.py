"""Between the rows of a loom file and what they mean."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

from llterm.core.history import Step
from llterm.core.jsontext import json_text
from llterm.core.loom import Marks, Node, Piece, Slice
from llterm.core.tokens import Tail

Row = tuple[Any, ...]


def read_piece(row: Row, data: bytes) -> Piece:
    """A piece without its birth, whose text is known already."""
    id, author, created, ids, sizes, overlap, fingerprint, logprobs = row
    return Piece(
        id, data, author, created, None if ids is None else _numbers(ids),
        _numbers(sizes or b""), overlap, fingerprint, tuple(array("d", bytes(logprobs or b""))),
    )  # fmt: skip


def piece_row(piece: Piece) -> Row:
    ids = None if piece.ids is None else array("i", piece.ids).tobytes()
    sizes, logprobs = array("i", piece.sizes).tobytes(), array("d", piece.logprobs).tobytes()
    return (piece.id, piece.data, piece.author, piece.created, ids, sizes, piece.overlap,
            piece.fingerprint, logprobs, piece.birth)  # fmt: skip


def read_node(id: int, parent: int, piece: int, start: int, stop: int, more: bytes | None) -> Node:
    """A node; `more` holds the slices after the first, three numbers each."""
    first = Slice(piece, start, stop)
    if more is None:
        return Node(id, parent, (first,))
    return Node(id, parent, (first, *_slices(_numbers(more))))


def node_row(node: Node) -> Row:
    first, *more = node.slices
    rest = array("i", [number for one in more for number in one]).tobytes() if more else None
    return (node.id, node.parent, *first, rest)


def read_marks(row: Row) -> tuple[int, Marks]:
    node, bookmark, rating, tags, note, order = row
    return node, Marks(bool(bookmark), int(rating), tuple(json.loads(tags)), str(note), str(order))


def marks_row(node: int, marks: Marks) -> Row:
    tags = json_text(marks.tags, bytes_kept=True)
    return (node, marks.bookmark, marks.rating, tags, marks.note, marks.order)


def step_text(step: Step) -> str:
    """A step's rows as JSON. A node is its parent and then three numbers a slice."""

    def row(node: Node | None) -> list[int] | None:
        if node is None:
            return None
        return [node.parent, *(number for one in node.slices for number in one)]

    found: dict[str, object] = {
        "nodes": [[id, row(before), row(after)] for id, (before, after) in step.nodes.items()],
        "facts": step.facts,
        "splits": step.splits,
    }
    if step.marks:
        found["marks"] = [
            [marks_row(id, before), marks_row(id, after)]
            for id, (before, after) in step.marks.items()
        ]
    if step.reshapes:
        found["reshapes"] = True
    return json_text(found, compact=True, bytes_kept=True)


def read_step(id: int, label: str, silent: bool, found: Mapping[str, Any]) -> Step:
    """A step from its rows. Raises what a damaged row raises."""

    def row(node: int, numbers: list[int] | None) -> Node | None:
        return None if numbers is None else Node(node, numbers[0], _slices(numbers[1:]))

    marks = [(read_marks(one), read_marks(two)) for one, two in found.get("marks", ())]
    return Step(
        label,
        nodes={node: (row(node, one), row(node, two)) for node, one, two in found["nodes"]},
        marks={node: (before, after) for (node, before), (_, after) in marks},
        facts={name: (before, after) for name, (before, after) in found["facts"].items()},
        splits=[(left, right) for left, right in found["splits"]],
        silent=silent,
        reshapes=bool(found.get("reshapes", False)),
        id=id,
    )


def _slices(numbers: Iterable[int]) -> tuple[Slice, ...]:
    one = iter(numbers)
    return tuple(Slice(*three) for three in zip(one, one, one, strict=True))


def _numbers(data: bytes) -> Tail:
    return tuple(array("i", bytes(data)))
