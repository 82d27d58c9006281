"""All of a loom in memory, apart from its file: for copies and exports."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from llterm.core.history import EVERY, UndoStep, Value
from llterm.core.loom_tree import LoomTree, Sight
from llterm.core.pieces import Pieces
from llterm.store.file import LoomFile
from llterm.store.late_reads import LateReads, Unreadable
from llterm.store.stored_rows import Changes, Contents


@dataclass(slots=True)
class LoomSnapshot:
    """A loom as it is at one moment: what is done to the living one does not show here."""

    loom: LoomTree
    """Its pieces are all read, with their births."""
    meta: Mapping[str, Value] = field(default_factory=dict)
    steps: list[tuple[UndoStep, bool]] = field(default_factory=list)
    """The history where it was wanted, and which steps are undone: those last, the next first."""
    extras: Mapping[int, str] = field(default_factory=dict)
    missing: Unreadable = field(default_factory=Unreadable)
    """What could not be read for it."""

    def changes(self) -> Changes:
        """The rows of a new file. The samples are not among them."""
        loom = self.loom
        pieces, sight = loom.pieces, loom.sight
        return Changes(
            nodes=dict(loom.nodes), pieces={id: pieces[id] for id in pieces.texts},
            marks=dict(loom.marks),
            sight={id: (id in sight.folded, id in sight.unread)
                   for id in sight.folded | sight.unread},
            steps={step.id: (step, undone) for step, undone in self.steps},
            extras=dict(self.extras),
            meta={**self.meta, "head": loom.head, "hoisted": sight.hoisted},
        )  # fmt: skip


def gathered(contents: Contents, late: LateReads | None, *, history: bool) -> LoomSnapshot:
    """The loom as it is now. What can't be read of its file is left out, and said in `missing`."""
    if late is None:
        return _gathered(contents, None, Unreadable(), history)
    with late.sparing() as missing:
        return _gathered(contents, late, missing, history)


def read_whole(path: Path, *, history: bool) -> LoomSnapshot:
    """All of a loom file, less the damage that opening it tells of.

    Raises LltermError where anything else of it cannot be read.
    """
    with closing(LoomFile(path)) as file:
        whole = gathered(file.load(), file.late, history=history)
    if whole.missing.trouble is not None and not file.damage:
        raise whole.missing.trouble
    return whole


def _gathered(
    contents: Contents, late: LateReads | None, missing: Unreadable, history: bool
) -> LoomSnapshot:
    alive, log = contents.loom, contents.history
    alive.pieces.fetch(alive.pieces.texts)
    pieces = {id: alive.pieces[id] for id in alive.pieces.texts}
    if late is not None:
        bare = [id for id, one in pieces.items() if one.ids is not None and not one.birth]
        births = late.births(bare)
        pieces.update((id, replace(pieces[id], birth=birth)) for id, birth in births.items())
    known = Pieces()
    for piece in pieces.values():
        known.add(piece)
    sight = alive.sight
    loom = LoomTree(pieces=known, head=alive.head, marks=dict(alive.marks),
                sight=Sight(set(sight.folded), set(sight.unread), sight.hoisted))  # fmt: skip
    loom.fill(dict(sorted(alive.nodes.items())))
    steps: list[tuple[UndoStep, bool]] = []
    if history:
        log.last(EVERY)
        steps += [(step.copy(), False) for step in log.done]
        steps += [(step.copy(), True) for step in reversed(log.undone)]
    extras = late.extras() if late is not None else {}
    return LoomSnapshot(loom, dict(contents.meta), steps, extras, missing)
