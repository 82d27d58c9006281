"""Edits of a loom's story: each makes a branch and leaves what was there as another."""

from __future__ import annotations

from collections.abc import Callable

from llterm.core.history import UndoStep
from llterm.core.loom_tree import ROOT, LoomNode, LoomTree, PieceSlice, cut

NewId = Callable[[], int]


def whole(loom: LoomTree, piece: int) -> tuple[PieceSlice, ...]:
    """All of a piece."""
    return (PieceSlice(piece, 0, len(loom.pieces.texts[piece])),)


def replace_range(
    loom: LoomTree,
    step: UndoStep,
    new_id: NewId,
    span: tuple[int, int, int],
    piece: int | None,
    *,
    carry: bool,
) -> int | None:
    """Put a piece in place of some of the story's bytes; the id of its node.

    `span` is where the bytes begin and end, and the size of the story. What follows them is carried
    into the new branch as slices, or, without `carry`, left to the old branch alone. The head moves
    to the new branch's end.
    """
    start, stop, size = span
    path = _from(loom, start, size)
    tail = _after(path, stop) if carry else []
    head = _cut(loom, step, new_id, path, start)
    made = None
    if piece is not None:
        made = new_id()
        step.put(loom, made, LoomNode(made, head, whole(loom, piece)))
        head = made
    for slices in tail:
        id = new_id()
        step.put(loom, id, LoomNode(id, head, slices))
        head = id
    lead(loom, step, head)
    return made


def push_down(loom: LoomTree, step: UndoStep, new_id: NewId, above: int, piece: int) -> int:
    """Put a piece between a node and all below it; the id of its node. No branch is made."""
    made = new_id()
    below = tuple(loom.children.get(above, ()))
    step.put(loom, made, LoomNode(made, above, whole(loom, piece)))
    for id in below:
        step.put(loom, id, loom.nodes[id].under(made))
    step.reshapes = True
    return made


def lead(loom: LoomTree, step: UndoStep, head: int) -> None:
    """Let the story end in another node."""
    step.fact("head", loom.head, head)
    loom.head = head


def split(loom: LoomTree, step: UndoStep, new_id: NewId, node: LoomNode, size: int) -> int:
    """Cut a node in two after some of its bytes; the id of the right part.

    The left part keeps the id, the right part takes over the children. A head goes on to the right.
    """
    right = new_id()
    first, rest = cut(node.slices, size)
    step.put(loom, node.id, node.holding(first))
    for id in tuple(loom.children.get(node.id, ())):
        step.put(loom, id, loom.nodes[id].under(right))
    step.put(loom, right, LoomNode(right, node.id, rest))
    step.splits.append((node.id, right))
    if loom.head == node.id:
        lead(loom, step, right)
    return right


def _from(loom: LoomTree, start: int, size: int) -> list[tuple[int, LoomNode]]:
    """The story's nodes that end after a byte, each with where it begins.

    Walked from the head: an edit at the end of a long story looks at the end only.
    """
    ending_after: list[tuple[int, LoomNode]] = []
    at = loom.head
    while at != ROOT and size > start:
        node = loom.nodes[at]
        size -= node.size
        ending_after.append((size, node))
        at = node.parent
    return ending_after[::-1]


def _cut(
    loom: LoomTree, step: UndoStep, new_id: NewId, path: list[tuple[int, LoomNode]], at: int
) -> int:
    """Make a node end at this byte of the story; that node's id."""
    if not path:
        return loom.head
    offset, node = path[0]
    if offset == at:
        return node.parent
    split(loom, step, new_id, node, at - offset)
    return node.id


def _after(path: list[tuple[int, LoomNode]], at: int) -> list[tuple[PieceSlice, ...]]:
    """What the nodes hold after a byte of the story."""
    rests: list[tuple[PieceSlice, ...]] = []
    for offset, node in path:
        skip = max(at - offset, 0)
        if skip < node.size:
            rests.append(cut(node.slices, skip)[1])
    return rests
