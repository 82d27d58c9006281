"""Commands on the tree: cut, merge, hang, move, delete. Each notes what it changed in a step."""

from __future__ import annotations

from collections.abc import Iterable

from llterm.core.edits import NewId, lead, split
from llterm.core.history import UndoStep
from llterm.core.loom_tree import BIN, ROOT, LoomNode, LoomTree, Marks, joined


def merge(loom: LoomTree, step: UndoStep, new_id: NewId, id: int) -> int:
    """Make one node of a node and its parent; its id.

    A parent with other children, or where the story ends, stays as it is, and the whole stands
    beside it: nobody's text changes. What was noted on both is on the whole.
    """
    step.reshapes = True
    node = loom.nodes[id]
    parent = loom.nodes[node.parent]
    slices = joined(parent.slices, node.slices)
    alone = loom.children[parent.id] == [id] and loom.head != parent.id
    target = parent.id if alone else new_id()
    whole = LoomNode(target, parent.parent, slices)
    below = tuple(loom.children.get(id, ()))
    step.put(loom, id, None)
    step.put(loom, target, whole)
    for child in below:
        step.put(loom, child, loom.nodes[child].under(target))
    marks = loom.marks.get(parent.id, Marks()) if alone else Marks()
    step.mark(loom, target, marks.with_those_of(loom.marks.get(id, Marks())))
    step.mark(loom, id, Marks())
    if loom.head == id:
        lead(loom, step, target)
    return target


def move(loom: LoomTree, step: UndoStep, id: int, parent: int) -> None:
    """Hang a node, with all below it, under another one."""
    step.reshapes = True
    step.put(loom, id, loom.nodes[id].under(parent))


def delete(loom: LoomTree, step: UndoStep, ids: Iterable[int]) -> None:
    """Put nodes, with all below them, into the bin. A story through one ends before it."""
    step.reshapes = True
    on_path = {node.id for node in loom.path()}
    for id in ids:
        parent = loom.nodes[id].parent
        step.put(loom, id, loom.nodes[id].under(BIN))
        if id in on_path:
            lead(loom, step, parent)


def clip(loom: LoomTree, step: UndoStep, new_id: NewId, id: int, size: int) -> None:
    """Delete a node's text after so many bytes, with all below it."""
    right = split(loom, step, new_id, loom.nodes[id], size)
    delete(loom, step, [right])


def contains(loom: LoomTree, id: int, other: int) -> bool:
    """Whether a node is another one, or stands above it."""
    while other > ROOT and other != id:
        other = loom.nodes[other].parent
    return other == id
