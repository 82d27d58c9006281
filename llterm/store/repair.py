"""Checks a loom file, and makes a sound one of what is left of a damaged one."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from llterm.core.history import History, UndoStep
from llterm.core.loom_tree import BIN, ROOT, LoomNode, LoomTree, PieceSlice
from llterm.core.pieces import Pieces
from llterm.core.weave_settings import WeaveSettings
from llterm.errors import LltermError
from llterm.number_format import count_of
from llterm.store.database import journal_of
from llterm.store.file import LoomFile
from llterm.store.salvage import Salvaged, salvage
from llterm.store.stored_rows import Changes, check_step
from llterm.store.stored_settings import rules_text
from llterm.whole_file import beside

_NAMES = {
    "piece": "texts", "token": "tokens of texts", "node": "nodes", "step": "steps of the history",
    "mark": "notes and marks",
    "sight": "folds and unread marks", "extra": "fields of other programs",
    "lines": "samples", "meta": "settings",
}  # fmt: skip
_LOST = {
    "rules": "the weave settings", "sampling": "the sampler settings", "chat": "the chat",
    "constraint": "the constraint",
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
    samples: dict[int, tuple[float, bytes]] = field(default_factory=dict)
    """Samples by place, with when they were drawn."""
    hopeless: bool = False
    """Nothing can be read."""


def diagnose(path: Path) -> Diagnosis:
    """Read a loom that may be damaged, as it was before what a crash cut off.

    Raises sqlite3.Error where it is no database at all.
    """
    salvaged = salvage(path)
    diagnosis = Diagnosis()
    if not salvaged.readable:
        diagnosis.hopeless = True
        diagnosis.faults.append(
            "It was written by a newer llterm." if salvaged.newer else "It is not a loom."
        )
        return diagnosis
    if salvaged.schema:
        diagnosis.faults.append(f"Its tables are not a loom's: {salvaged.schema}.")
    if "page" in salvaged.lost:
        diagnosis.faults.append("The database is damaged.")
    for table, name in _NAMES.items():
        if count := salvaged.lost.get(table):
            diagnosis.faults.append(f"{name}: {count} or more cannot be read.")
    loom = _tree(salvaged, diagnosis)
    _head(salvaged, loom, diagnosis)
    steps = _history(salvaged, loom, diagnosis)
    _settings(salvaged, diagnosis)
    for table in ("token", "mark", "sight", "extra", "lines", "meta"):
        if salvaged.lost.get(table):
            diagnosis.losses.append(f"some of the {_NAMES[table]}, or all")
    diagnosis.samples = salvaged.samples
    if not diagnosis.faults and (refusal := fault_of(path)):
        diagnosis.faults.append(refusal)
    diagnosis.hopeless = bool(diagnosis.faults) and not loom.nodes
    diagnosis.changes = Changes(
        nodes=dict(loom.nodes), pieces=dict(salvaged.pieces),
        marks={id: one for id, one in salvaged.marks.items() if id == ROOT or id in loom.nodes},
        sight=salvaged.sight, steps={step.id: (step, undone) for step, undone in steps},
        extras=salvaged.extras, meta=salvaged.meta,
    )  # fmt: skip
    return diagnosis


def write_repaired(diagnosis: Diagnosis, path: Path) -> None:
    """Put the repaired loom in the damaged one's place. Raises LltermError; OSError where it cannot
    be put there, and the damaged one stays."""
    with beside(path) as part:
        with closing(LoomFile(part, new=True)) as file:
            file.commit(diagnosis.changes)
            for place, (drawn, blob) in diagnosis.samples.items():
                file.save_samples(place, drawn, blob)
        # First: it would be played back into the loom that takes the place.
        journal_of(path).unlink(missing_ok=True)


def fault_of(path: Path) -> str:
    """Why a loom is not opened, or what opening it says of damage; empty where all is sound."""
    try:
        with closing(LoomFile(path)) as file:
            file.load()
            return file.damage
    except LltermError as error:
        return error.cause


def _tree(salvaged: Salvaged, diagnosis: Diagnosis) -> LoomTree:
    """The nodes that have their text, each under the nearest node above that is left."""
    whole = {id: node for id, node in salvaged.nodes.items() if _has_text(salvaged, node)}
    if gone := len(salvaged.nodes) - len(whole):
        diagnosis.faults.append(f"{count_of(gone, 'node has', 'nodes have')} no text.")
        diagnosis.losses.append(f"the text of {count_of(gone, 'node')}")
    if "node" in salvaged.lost:
        _unhung(salvaged, whole, diagnosis)
    loom = LoomTree(pieces=Pieces({id: piece.data for id, piece in salvaged.pieces.items()}))
    loom.fill(dict(sorted(whole.items())))
    rooted = {*loom.below(ROOT), *loom.below(BIN)}
    loose = [node for id, node in whole.items() if id not in rooted]
    moved = 0
    for node in loose:
        parent = _above(salvaged, whole, node)
        moved += parent != node.parent
        loom.put(node.id, node.under(parent))
    if moved:
        diagnosis.faults.append(f"{count_of(moved, 'node hangs', 'nodes hang')} under none.")
        diagnosis.losses.append(
            f"where {count_of(moved, 'branch', 'branches')} hung: now as near to it as is known"
        )
    return loom


def _unhung(salvaged: Salvaged, whole: dict[int, LoomNode], diagnosis: Diagnosis) -> None:
    """Texts whose nodes were lost become branches of the root."""
    used = {one.piece for node in salvaged.nodes.values() for one in node.slices}
    next_node = max(ROOT, *salvaged.nodes, int(salvaged.meta.get("next_node", 0))) + 1
    unhung = [piece for id, piece in sorted(salvaged.pieces.items()) if id not in used]
    for id, piece in enumerate(unhung, next_node):
        whole[id] = salvaged.nodes[id] = LoomNode(
            id, ROOT, (PieceSlice(piece.id, 0, len(piece.data)),)
        )
    if unhung:
        diagnosis.losses.append(
            f"where {count_of(len(unhung), 'text')} hung; each is a branch of the root now"
        )


def _has_text(found: Salvaged, node: LoomNode) -> bool:
    pieces = found.pieces
    return node.id > ROOT and all(
        one.piece in pieces and 0 <= one.start < one.stop <= len(pieces[one.piece].data)
        for one in node.slices
    )


def _above(salvaged: Salvaged, whole: dict[int, LoomNode], node: LoomNode) -> int:
    """The nearest node above that is left; else the root.

    Of a ring the node with the least id is hung under the root, and the others stay under it.
    """
    nearest = ROOT
    seen = [node.id]
    at = node.parent
    while at not in (ROOT, BIN) and at in salvaged.nodes and at not in seen:
        if nearest == ROOT and at in whole:
            nearest = at
        seen.append(at)
        at = salvaged.nodes[at].parent
    if at == node.id and node.id == min(seen):
        return ROOT
    return nearest


def _head(salvaged: Salvaged, loom: LoomTree, diagnosis: Diagnosis) -> None:
    # A loom says nothing of its head only while it is empty.
    head = salvaged.meta.get("head", ROOT if not loom.nodes else None)
    if head is not None and loom.holds(int(head)):
        loom.head = int(head)
        return
    salvaged.meta["head"] = loom.head = loom.deepest(ROOT)
    diagnosis.faults.append("Where the story ends is not in the tree.")
    diagnosis.losses.append("which branch was the story; it is the newest one now")


def _history(
    salvaged: Salvaged, loom: LoomTree, diagnosis: Diagnosis
) -> list[tuple[UndoStep, bool]]:
    """The steps, where each still fits the tree: after a repair of the tree itself, none."""
    unread = any(salvaged.lost.get(table) for table in ("piece", "node", "step"))
    if not (diagnosis.losses or unread):
        steps = sorted((step for step, undone in salvaged.steps if not undone), key=_by_id)
        undone = sorted((step for step, undone in salvaged.steps if undone), key=_by_id)[::-1]
        try:
            for step, _ in salvaged.steps:
                check_step(step, loom)
            History(steps, undone).check(loom)
        except ValueError as error:
            diagnosis.faults.append(f"The history does not fit the story: {error}.")
        else:
            return salvaged.steps
    if salvaged.steps or "step" in salvaged.lost:
        diagnosis.losses.append("the history: what was done before cannot be undone")
    return []


def _by_id(step: UndoStep) -> int:
    return step.id


def _settings(salvaged: Salvaged, diagnosis: Diagnosis) -> None:
    """What makes no sense among what is kept by name is as in a new loom again."""
    meta = salvaged.meta
    for name, why in salvaged.odd.items():
        diagnosis.faults.append(f"In what is kept by name, {why}.")
        if name == "rules":
            meta["rules"] = rules_text(WeaveSettings())
        if name not in _SMALL:
            diagnosis.losses.append(_LOST.get(name, name))
    known = [ROOT, *salvaged.nodes, *(id for step, _ in salvaged.steps for id in step.nodes)]
    meta["next_node"] = max(int(meta.get("next_node", 0)), max(known) + 1)
