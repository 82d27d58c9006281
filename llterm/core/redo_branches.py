"""What was undone comes back as branches, before something new is done.

What steps had added is kept. What they had moved, merged or deleted was undone, and stays so: the
person has it all where it was.
"""

from __future__ import annotations

from llterm.core.edits import NewId, lead, split
from llterm.core.history import UndoStep
from llterm.core.loom_tree import ROOT, LoomNode, LoomTree, PieceSlice, cut


def revive(loom: LoomTree, undone: list[UndoStep], new_id: NewId) -> UndoStep:
    """Bring back what was undone, as branches beside the story; the step that does it.

    The story stays what it is; where it ended in a node that had been cut in two, the head is the
    right part now.
    """
    revived = UndoStep("keep what was undone", silent=True)
    revived.fact("head", loom.head, loom.head)
    grafts = UndoStep("")
    once: dict[int, LoomNode | None] = {}
    reshaped = False
    for step in reversed(undone):
        reshaped = reshaped or step.reshapes
        if reshaped:
            once.update((id, after) for id, (_, after) in step.nodes.items())
            _graft(loom, grafts, new_id, step, once)
        else:
            _repeat(loom, revived, step)
    _take_in(revived, grafts)
    for step in reversed(undone):
        for id, (_, marks) in step.marks.items():
            if id in loom.nodes and revived.nodes.get(id, (loom.nodes[id], None))[0] is None:
                revived.mark(loom, id, marks)
    return revived


def _repeat(loom: LoomTree, revived: UndoStep, step: UndoStep) -> None:
    """Steps that only added to the tree are done again as they were."""
    for id, (_, after) in step.nodes.items():
        if after is not None:
            revived.put(loom, id, after)
    for left, right in step.splits:
        if loom.head == left:
            lead(loom, revived, right)
    revived.splits += step.splits


def _graft(
    loom: LoomTree,
    grafts: UndoStep,
    new_id: NewId,
    step: UndoStep,
    once: dict[int, LoomNode | None],
) -> None:
    """Steps after one that reshaped: each node they made is added where its text belongs now.

    `once` holds the rows that differ from the loom as it was before any graft.
    """
    for id in sorted(id for id, (before, after) in step.nodes.items() if before is None and after):
        path: list[LoomNode] = []
        at = id
        while at > ROOT:
            before = grafts.nodes.get(at, (None, None))[0]
            node = once[at] if at in once else before or loom.nodes[at]
            assert node is not None
            path.append(node)
            at = node.parent
        if at == ROOT:
            _add(loom, grafts, new_id, path[::-1], id)


def _take_in(revived: UndoStep, grafts: UndoStep) -> None:
    """Make one step of both."""
    for id, (before, after) in grafts.nodes.items():
        revived.nodes[id] = revived.nodes.get(id, (before, None))[0], after
    revived.splits += grafts.splits
    if "head" in grafts.facts:
        revived.fact("head", *grafts.facts["head"])


def _add(loom: LoomTree, grafts: UndoStep, new_id: NewId, path: list[LoomNode], id: int) -> None:
    """Follow the same bytes of the same pieces as far as the tree has them; hang on the rest."""
    left = tuple(one for node in path for one in node.slices)
    at, inside = ROOT, 0
    while left:
        node = loom.nodes.get(at)
        rest = cut(node.slices, inside)[1] if node is not None and inside < node.size else ()
        if rest:
            same = _common(rest, left)
            inside += same
        else:
            below = loom.children.get(at, ())
            same, child = max(
                ((_common(loom.nodes[child].slices, left), child) for child in below),
                default=(0, at),
            )
            if same:
                at, inside = child, same
        if not same:
            break
        left = cut(left, same)[1]
    if not left:
        return
    if at != ROOT and inside < loom.nodes[at].size:
        split(loom, grafts, new_id, loom.nodes[at], inside)
    fresh = id if id not in loom.nodes else new_id()
    grafts.put(loom, fresh, LoomNode(fresh, at, left))


def _common(left: tuple[PieceSlice, ...], right: tuple[PieceSlice, ...]) -> int:
    """How many bytes at the beginning are the same bytes of the same pieces."""
    size = 0
    while left and right:
        first, second = left[0], right[0]
        if (first.piece, first.start) != (second.piece, second.start):
            break
        same = min(first.size, second.size)
        size += same
        left, right = cut(left, same)[1], cut(right, same)[1]
    return size
