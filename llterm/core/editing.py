"""Edits of a loom's story: each makes a branch and leaves what was there as another."""

from __future__ import annotations

from collections.abc import Callable

from llterm.core.history import Step
from llterm.core.loom import ROOT, Loom, Node

NewId = Callable[[], int]


def replace_range(
    loom: Loom, step: Step, new_id: NewId, start: int, stop: int, piece: int | None, *, carry: bool
) -> int | None:
    """Put a piece in place of the story's bytes `start` to `stop`; the id of its node.

    The story after `stop` is carried into the new branch as slices, or, without `carry`, left to
    the old branch alone. The head moves to the new branch's end.
    """
    path = loom.path()
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


def _cut(loom: Loom, step: Step, new_id: NewId, path: list[Node], at: int) -> int:
    """Make a node end at this byte of the story; that node's id."""
    before = ROOT
    offset = 0
    for node in path:
        if offset == at:
            return before
        if offset + node.size > at:
            _split(loom, step, new_id, node, at - offset)
            return node.id
        offset += node.size
        before = node.id
    return before


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


def _after(path: list[Node], at: int) -> list[Node]:
    """The nodes after a byte of the story, the first one sliced."""
    found: list[Node] = []
    offset = 0
    for node in path:
        skip = max(at - offset, 0)
        if skip < node.size:
            found.append(Node(node.id, node.parent, node.piece, node.start + skip, node.stop))
        offset += node.size
    return found
