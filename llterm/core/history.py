"""Steps that can be undone: rows before and after, over text, tree, marks, head and settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from llterm.core.loom_tree import BIN, ROOT, LoomNode, LoomTree, Marks

Value = int | str
Way = Literal["undo", "redo"]
PAGE = 200
"""Steps read from the file at once, when the person goes back that far."""
EVERY = 1 << 60
"""More steps than there can be."""


@dataclass(slots=True)
class UndoStep:
    """One thing the person did. Replaying rows, not commands: undo gives back exactly what was."""

    label: str
    nodes: dict[int, tuple[LoomNode | None, LoomNode | None]] = field(default_factory=dict)
    """Per node id: the row before and after."""
    marks: dict[int, tuple[Marks, Marks]] = field(default_factory=dict)
    """Per node id: what was noted on it before and after."""
    facts: dict[str, tuple[Value, Value]] = field(default_factory=dict)
    """Head, cursor, hidden prefix, weave rules and sampling (as JSON): before and after."""
    splits: list[tuple[int, int]] = field(default_factory=list)
    """Nodes that were cut in two: the left part keeps the id, the right part is new."""
    silent: bool = False
    """Undone and redone together with the step after it, which it was made for."""
    reshapes: bool = False
    """It moved or removed what was there, and did not only add to it."""
    id: int = 0
    """Row id in the store."""

    def put(self, loom: LoomTree, id: int, node: LoomNode | None) -> None:
        """Change a row of the loom, and note it."""
        before = loom.put(id, node)
        first = self.nodes[id][0] if id in self.nodes else before
        self.nodes[id] = first, node

    def mark(self, loom: LoomTree, id: int, marks: Marks) -> None:
        """Change what is noted on a node, and note that."""
        before = loom.mark(id, marks)
        first = self.marks[id][0] if id in self.marks else before
        self.marks[id] = first, marks

    def fact(self, name: str, before: Value, after: Value) -> None:
        first = self.facts[name][0] if name in self.facts else before
        self.facts[name] = first, after

    def copy(self) -> UndoStep:
        """This step as it is now."""
        return replace(self, nodes=dict(self.nodes), marks=dict(self.marks), facts=dict(self.facts),
                       splits=list(self.splits))  # fmt: skip

    @property
    def empty(self) -> bool:
        changes = (*self.nodes.values(), *self.marks.values())
        return all(before == after for before, after in changes) and all(
            before == after for name, (before, after) in self.facts.items() if name != "cursor"
        )

    def apply(self, loom: LoomTree, way: Way) -> Mapping[str, Value]:
        """Put the rows of one side back; the facts of that side.

        Raises ValueError, and leaves the loom as it was, where its nodes are not those of the other
        side, or would be no tree: the file was damaged.
        """
        side, other = (0, 1) if way == "undo" else (1, 0)
        if any(loom.nodes.get(id) != rows[other] for id, rows in self.nodes.items()):
            raise ValueError(f"step {self.id} is not about the tree as it is")
        self._put(loom, side)
        try:
            self._check(loom, side)
        except ValueError:
            self._put(loom, other)
            raise
        for id, marks in self.marks.items():
            loom.mark(id, marks[side])
        return {name: values[side] for name, values in self.facts.items()}

    def _put(self, loom: LoomTree, side: int) -> None:
        for id in self.nodes:
            loom.put(id, None)
        for id, rows in self.nodes.items():
            loom.put(id, rows[side])

    def _check(self, loom: LoomTree, side: int) -> None:
        """Raise ValueError where the rows of a side, which the loom has now, make no tree."""
        for id, rows in self.nodes.items():
            row, below = rows[side], loom.children.get(id)
            if row is None and below:
                raise ValueError(f"step {self.id} leaves node {below[0]} without a parent")
            if row is not None and row.parent not in loom.nodes and row.parent not in (ROOT, BIN):
                raise ValueError(f"step {self.id} hangs node {id} under none")
        # Only what has something below it can be its own parent.
        loom.check_hung(
            id for id, rows in self.nodes.items()
            if loom.children.get(id) and _parent(rows[0]) != _parent(rows[1])
        )  # fmt: skip
        head = self.facts["head"][side] if "head" in self.facts else None
        if head is not None and head != ROOT and head not in loom.nodes:
            raise ValueError(f"step {self.id} ends the story in node {head}, which is not there")


def _parent(node: LoomNode | None) -> int | None:
    return None if node is None else node.parent


Earlier = Callable[[int, int], list[UndoStep] | None]
"""Reads up to so many done steps before the one with this id, oldest first; None where they cannot
be read."""


@dataclass(slots=True)
class History:
    """Steps done, and steps undone and not yet replaced (the last of them is redone first).

    Of a file only the last steps are read at first; earlier ones when they are come to.
    """

    done: list[UndoStep] = field(default_factory=list)
    undone: list[UndoStep] = field(default_factory=list)
    earlier: Earlier | None = None
    """None where all is read."""
    oldest: int = 0
    """Id of the first step that is read."""

    def back(self) -> list[UndoStep]:
        """Take the last step, and the silent ones made for it; in the order to undo them."""
        taken: list[UndoStep] = []
        while (last := self.last()) is not None and (not taken or last.silent):
            taken.append(self.done.pop())
        self.undone += taken
        return taken

    def forth(self) -> list[UndoStep]:
        """Take the next undone step, the silent ones made for it first; in the order to redo."""
        taken: list[UndoStep] = []
        while self.undone and (not taken or taken[-1].silent):
            taken.append(self.undone.pop())
        self.done += taken
        return taken

    def put_back(self, steps: list[UndoStep], *, undone: bool) -> None:
        """These steps, just taken, were not undone (or redone) after all."""
        before, after = (self.done, self.undone) if undone else (self.undone, self.done)
        del after[len(after) - len(steps) :]
        before += reversed(steps)

    def check(self, loom: LoomTree) -> None:
        """Raise ValueError where what is read cannot be undone, or what was undone not redone."""
        _check_way(loom, self.done[::-1], "undo", "redo")
        _check_way(loom, self.undone[::-1], "redo", "undo")

    def last(self, nth: int = 1) -> UndoStep | None:
        """The last step done, or the nth from the end."""
        while len(self.done) < nth and self.earlier is not None:
            steps = self.earlier(self.oldest, PAGE)
            if steps is None:
                break
            self.done[:0] = steps
            if steps:
                self.oldest = steps[0].id
            else:
                self.earlier = None
        return self.done[-nth] if len(self.done) >= nth else None


def _check_way(loom: LoomTree, steps: Sequence[UndoStep], way: Way, back: Way) -> None:
    """Raise ValueError where the loom cannot go along these steps; it is as it was afterwards."""
    gone: list[UndoStep] = []
    marks = dict(loom.marks)
    try:
        for step in steps:
            step.apply(loom, way)
            gone.append(step)
    finally:
        for step in reversed(gone):
            step.apply(loom, back)
        loom.marks = marks
