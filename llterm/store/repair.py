"""Checks a loom file, and makes a sound one of what is left of a damaged one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from llterm.core.counts import count_of
from llterm.core.history import History, UndoStep
from llterm.core.loom_tree import BIN, ROOT, Loom, Node, Slice
from llterm.core.pieces import Pieces
from llterm.core.rules import Rules
from llterm.errors import LltermError
from llterm.store.connection import journal_of
from llterm.store.contents import Changes
from llterm.store.file import LoomFile
from llterm.store.salvage import Found, salvage
from llterm.store.stored_rows import check_step
from llterm.store.stored_settings import rules_text
from llterm.wholefile import beside

_NAMES = {
    "piece": "texts", "token": "tokens of texts", "node": "nodes", "step": "steps of the history",
    "mark": "notes and marks",
    "sight": "folds and unread marks", "extra": "fields of other programs",
    "lines": "sampled lines", "meta": "settings",
}  # fmt: skip
_LOST = {
    "rules": "the weave settings", "sampling": "the sampler settings", "chat": "the chat",
    "prefix": "the hidden prefix", "model": "which model was used last",
}  # fmt: skip
_SMALL = ("head", "hoisted", "cursor", "next_node")
"""Of what is kept by name, what is told elsewhere or missed by nobody."""


@dataclass(slots=True)
class Diagnosis:
    """What is wrong with a loom, and what can be made of it."""

    faults: list[str] = field(default_factory=list)
    """What is damaged; empty where the loom is sound."""
    losses: list[str] = field(default_factory=list)
    """What a repair cannot bring back."""
    changes: Changes = field(default_factory=Changes)
    """The repaired loom."""
    lines: dict[int, tuple[float, bytes]] = field(default_factory=dict)
    """Sampled lines by place, with when they were drawn."""
    hopeless: bool = False
    """Nothing can be read."""


def diagnose(path: Path) -> Diagnosis:
    """Read a loom that may be damaged, as it was before what a crash cut off.

    Raises sqlite3.Error where it is no database at all.
    """
    found = salvage(path)
    told = Diagnosis()
    if not found.readable:
        told.hopeless = True
        told.faults.append(
            "It was written by a newer llterm." if found.newer else "It is not a loom."
        )
        return told
    if found.schema:
        told.faults.append(f"Its tables are not a loom's: {found.schema}.")
    if "page" in found.lost:
        told.faults.append("The database is damaged.")
    for table, name in _NAMES.items():
        if count := found.lost.get(table):
            told.faults.append(f"{name}: {count} or more cannot be read.")
    loom = _tree(found, told)
    _head(found, loom, told)
    steps = _history(found, loom, told)
    _settings(found, told)
    for table in ("token", "mark", "sight", "extra", "lines", "meta"):
        if found.lost.get(table):
            told.losses.append(f"some of the {_NAMES[table]}, or all")
    told.lines = found.lines
    if not told.faults and (refusal := fault_of(path)):
        told.faults.append(refusal)
    told.hopeless = bool(told.faults) and not loom.nodes
    told.changes = Changes(
        nodes=dict(loom.nodes), pieces=dict(found.pieces),
        marks={id: one for id, one in found.marks.items() if id == ROOT or id in loom.nodes},
        sight=found.sight, steps={step.id: (step, undone) for step, undone in steps},
        extras=found.extras, meta=found.meta,
    )  # fmt: skip
    return told


def write_repaired(told: Diagnosis, path: Path) -> None:
    """Put the repaired loom in the damaged one's place. Raises LltermError; OSError where it cannot
    be put there, and the damaged one stays."""
    with beside(path) as part:
        file = LoomFile(part, new=True)
        try:
            file.commit(told.changes)
            for place, (drawn, blob) in told.lines.items():
                file.save_lines(place, drawn, blob)
        finally:
            file.close()
        # First: it would be played back into the loom that takes the place.
        journal_of(path).unlink(missing_ok=True)


def fault_of(path: Path) -> str:
    """Why a loom is not opened, or what opening it says of damage; empty where all is sound."""
    try:
        file = LoomFile(path)
        try:
            file.load()
            return file.damage
        finally:
            file.close()
    except LltermError as error:
        return error.cause


def _tree(found: Found, told: Diagnosis) -> Loom:
    """The nodes that have their text, each under the nearest node above that is left."""
    whole = {id: node for id, node in found.nodes.items() if _has_text(found, node)}
    if gone := len(found.nodes) - len(whole):
        told.faults.append(f"{count_of(gone, 'node has', 'nodes have')} no text.")
        told.losses.append(f"the text of {count_of(gone, 'node')}")
    if "node" in found.lost:
        _unhung(found, whole, told)
    loom = Loom(pieces=Pieces({id: piece.data for id, piece in found.pieces.items()}))
    loom.fill(dict(sorted(whole.items())))
    rooted = {*loom.below(ROOT), *loom.below(BIN)}
    loose = [node for id, node in whole.items() if id not in rooted]
    moved = 0
    for node in loose:
        parent = _above(found, whole, node)
        moved += parent != node.parent
        loom.put(node.id, node.under(parent))
    if moved:
        told.faults.append(f"{count_of(moved, 'node hangs', 'nodes hang')} under none.")
        told.losses.append(
            f"where {count_of(moved, 'branch', 'branches')} hung: now as near to it as is known"
        )
    return loom


def _unhung(found: Found, whole: dict[int, Node], told: Diagnosis) -> None:
    """Texts whose nodes were lost become branches of the root."""
    used = {one.piece for node in found.nodes.values() for one in node.slices}
    next_node = max(ROOT, *found.nodes, int(found.meta.get("next_node", 0))) + 1
    unhung = [piece for id, piece in sorted(found.pieces.items()) if id not in used]
    for id, piece in enumerate(unhung, next_node):
        whole[id] = found.nodes[id] = Node(id, ROOT, (Slice(piece.id, 0, len(piece.data)),))
    if unhung:
        told.losses.append(
            f"where {count_of(len(unhung), 'text')} hung; each is a branch of the root now"
        )


def _has_text(found: Found, node: Node) -> bool:
    pieces = found.pieces
    return node.id > ROOT and all(
        one.piece in pieces and 0 <= one.start < one.stop <= len(pieces[one.piece].data)
        for one in node.slices
    )


def _above(found: Found, whole: dict[int, Node], node: Node) -> int:
    """The nearest node above that is left; else the root.

    Of a ring the node with the least id is hung under the root, and the others stay under it.
    """
    nearest = ROOT
    seen = [node.id]
    at = node.parent
    while at not in (ROOT, BIN) and at in found.nodes and at not in seen:
        if nearest == ROOT and at in whole:
            nearest = at
        seen.append(at)
        at = found.nodes[at].parent
    if at == node.id and node.id == min(seen):
        return ROOT
    return nearest


def _head(found: Found, loom: Loom, told: Diagnosis) -> None:
    # A loom says nothing of its head only while it is empty.
    head = found.meta.get("head", ROOT if not loom.nodes else None)
    if head is not None and loom.holds(int(head)):
        loom.head = int(head)
        return
    found.meta["head"] = loom.head = loom.deepest(ROOT)
    told.faults.append("Where the story ends is not in the tree.")
    told.losses.append("which branch was the story; it is the newest one now")


def _history(found: Found, loom: Loom, told: Diagnosis) -> list[tuple[UndoStep, bool]]:
    """The steps, where each still fits the tree: after a repair of the tree itself, none."""
    unread = any(found.lost.get(table) for table in ("piece", "node", "step"))
    if not (told.losses or unread):
        steps = sorted((step for step, undone in found.steps if not undone), key=_by_id)
        undone = sorted((step for step, undone in found.steps if undone), key=_by_id)[::-1]
        try:
            for step, _ in found.steps:
                check_step(step, loom)
            History(steps, undone).check(loom)
        except ValueError as error:
            told.faults.append(f"The history does not fit the story: {error}.")
        else:
            return found.steps
    if found.steps or "step" in found.lost:
        told.losses.append("the history: what was done before cannot be undone")
    return []


def _by_id(step: UndoStep) -> int:
    return step.id


def _settings(found: Found, told: Diagnosis) -> None:
    """What makes no sense among what is kept by name is as in a new loom again."""
    meta = found.meta
    for name, why in found.odd.items():
        told.faults.append(f"In what is kept by name, {why}.")
        if name == "rules":
            meta["rules"] = rules_text(Rules())
        if name not in _SMALL:
            told.losses.append(_LOST.get(name, name))
    known = [ROOT, *found.nodes, *(id for step, _ in found.steps for id in step.nodes)]
    meta["next_node"] = max(int(meta.get("next_node", 0)), max(known) + 1)
