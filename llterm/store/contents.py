"""What is read from a loom file, and what is written to one."""

from __future__ import annotations

from dataclasses import dataclass, field

from llterm.core.history import History, UndoStep, Value
from llterm.core.loom_tree import Loom, Marks, Node, Piece


@dataclass(slots=True)
class Contents:
    """What a loom file holds."""

    loom: Loom = field(default_factory=Loom)
    history: History = field(default_factory=History)
    meta: dict[str, Value] = field(default_factory=dict)


@dataclass(slots=True)
class Changes:
    """Rows to write in one transaction."""

    nodes: dict[int, Node | None] = field(default_factory=dict)
    pieces: dict[int, Piece] = field(default_factory=dict)
    marks: dict[int, Marks | None] = field(default_factory=dict)
    sight: dict[int, tuple[bool, bool]] = field(default_factory=dict)
    """Per node: whether it is folded, and whether it is unread."""
    steps: dict[int, tuple[UndoStep | None, bool]] = field(default_factory=dict)
    """Per row id: the step (None: it is gone) and whether it is undone."""
    extras: dict[int, str] = field(default_factory=dict)
    """Per node: fields of another program's file, as JSON."""
    meta: dict[str, Value] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any((self.nodes, self.pieces, self.marks, self.sight, self.steps, self.extras,
                    self.meta))  # fmt: skip
