"""Edits of a loom's story: each makes a branch and leaves what was there as another."""

from __future__ import annotations

from collections.abc import Callable

from llterm.core.history import Step
from llterm.core.loom import ROOT, Loom, Node

NewId = Callable[[], int]


def replace_range(
    loom: Loom,
    step: Step,
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
        step.put(loom, made, Node(made, head, piece, 0, len(loom.pieces[piece].data)))
        head = made
    for node in tail:
        id = new_id()
        step.put(loom, id, Node(id, head, node.piece, node.start, node.stop))
        head = id
    step.fact("head", loom.head, head)
    loom.head = head
    return made


def revive(loom: Loom, undone: list[Step]) -> Step:
    """Bring back what was undone, as branches beside the story, before something new is done.

    The story stays what it is; where a revived step had cut a node of it in two, the head is the
    right part now.
    """
    kept = Step("keep what was undone", silent=True)
    head = loom.head
    for step in reversed(undone):
        for id, (_, after) in step.nodes.items():
            if after is None and id in loom.nodes:
                kept.put(loom, id, None)
        for id, (_, after) in step.nodes.items():
            if after is not None:
                kept.put(loom, id, after)
        for left, right in step.splits:
            if head == left:
                head = right
        kept.splits += step.splits
    kept.fact("head", loom.head, head)
    loom.head = head
    return kept


def _from(loom: Loom, start: int, size: int) -> list[tuple[int, Node]]:
    """The story's nodes that end after a byte, each with where it begins.

    Walked from the head: an edit at the end of a long story looks at the end only.
    """
    found: list[tuple[int, Node]] = []
    at = loom.head
    while at != ROOT and size > start:
        node = loom.nodes[at]
        size -= node.size
        found.append((size, node))
        at = node.parent
    return found[::-1]


def _cut(loom: Loom, step: Step, new_id: NewId, path: list[tuple[int, Node]], at: int) -> int:
    """Make a node end at this byte of the story; that node's id."""
    if not path:
        return loom.head
    offset, node = path[0]
    if offset == at:
        return node.parent
    _split(loom, step, new_id, node, at - offset)
    return node.id


def _split(loom: Loom, step: Step, new_id: NewId, node: Node, size: int) -> None:
    """Cut a node in two: the left part keeps the id, the right part takes over the children."""
    right = new_id()
    below = list(loom.children.get(node.id, ()))
    middle = node.start + size
    step.put(loom, node.id, Node(node.id, node.parent, node.piece, node.start, middle))
    step.put(loom, right, Node(right, node.id, node.piece, middle, node.stop))
    for id in below:
        child = loom.nodes[id]
        step.put(loom, id, Node(id, right, child.piece, child.start, child.stop))
    step.splits.append((node.id, right))


def _after(path: list[tuple[int, Node]], at: int) -> list[Node]:
    """The nodes after a byte of the story, the first one sliced."""
    found: list[Node] = []
    for offset, node in path:
        skip = max(at - offset, 0)
        if skip < node.size:
            found.append(Node(node.id, node.parent, node.piece, node.start + skip, node.stop))
    return found
