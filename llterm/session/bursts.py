"""Bursts of typing: edits that touch are one node and one step, however they came about."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from llterm.core.edits import replace_range
from llterm.core.history import UndoStep
from llterm.core.loom_tree import PERSON, Piece, PieceSlice
from llterm.session.undo_log import UndoLog


@dataclass(slots=True)
class Burst:
    """Edits that belong together: one range of the story as it was before, and what stands there.

    The step is made anew at each edit, so that a burst of typing and deleting is one node and one
    step however it came about.
    """

    step: UndoStep
    start: int
    """Byte offset in the story before the burst, and now."""
    stop: int
    """End of the replaced range, in the story before the burst."""
    data: bytes
    old: bytes
    """The whole story before the burst."""
    made: int | None = None
    """The node that holds `data`."""
    kept: UndoStep | None = None
    """The step that kept what was undone, made for this burst."""
    undone: list[UndoStep] = field(default_factory=list)
    """What was undone when the burst began."""


@dataclass(slots=True)
class Typist:
    """Carries the person's edits into the loom."""

    undo_log: UndoLog
    burst: Burst | None = None
    """The one going on."""

    def end(self) -> bool:
        """End the burst. Returns whether there was one."""
        was, self.burst = self.burst is not None, None
        return was

    def edit(self, first: int, last: int, data: bytes, old: bytes, cursor: int) -> None:
        """Put `data` in place of bytes `first` to `last` of the story `old`."""
        burst = self._joined(first, last, data)
        if burst is None:
            if self.end():
                self.undo_log.commit()
            burst = self._begun(first, last, data, old)
            burst.step.fact("cursor", cursor, cursor)
        self._carry_out(burst)

    def _joined(self, first: int, last: int, data: bytes) -> Burst | None:
        """The burst going on, with this edit in it, if the edit touches it."""
        burst = self.burst
        if burst is None or first > burst.start + len(burst.data) or last < burst.start:
            return None
        shift = len(burst.data) - (burst.stop - burst.start)
        start = min(first, burst.start)
        stop = max(last - shift, burst.stop)
        now = burst.old[start : burst.start] + burst.data + burst.old[burst.stop : stop]
        text = now[: first - start] + data + now[last - start :]
        if start == burst.start and stop == burst.stop and burst.made is not None and text:
            burst.data = text
            return burst
        self.undo_log.take_back(burst.step)
        return replace(burst, start=start, stop=stop, data=text, made=None)

    def _begun(self, first: int, last: int, data: bytes, old: bytes) -> Burst:
        undone = list(self.undo_log.history.undone)
        kept = self.undo_log.revive()
        return Burst(UndoStep("typing"), first, last, data, old, kept=kept, undone=undone)

    def _carry_out(self, burst: Burst) -> None:
        """Make the loom hold the burst as it is now."""
        if burst.data == burst.old[burst.start : burst.stop]:
            self._forget(burst)
            self.burst = None
            return
        self.burst = burst
        if burst.made is not None:
            self._amend(burst)
        else:
            undo_log = self.undo_log
            number = None
            if burst.data:
                number = undo_log.new_piece(Piece(0, burst.data, PERSON, time.time()))
            span = burst.start, burst.stop, len(burst.old)
            burst.made = replace_range(
                undo_log.loom, burst.step, undo_log.new_node, span, number, carry=True
            )
        self.undo_log.write(burst.step)

    def _forget(self, burst: Burst) -> None:
        """A burst that came to nothing, such as a letter typed and deleted, is no step."""
        steps = [step for step in (burst.step, burst.kept) if step is not None]
        for step in steps:
            self.undo_log.take_back(step)
        self.undo_log.forget(*steps)
        self.undo_log.restore(burst.undone)

    def _amend(self, burst: Burst) -> None:
        """The person's own fresh node takes other text: no second node for a second letter."""
        assert burst.made is not None
        loom = self.undo_log.loom
        node = loom.nodes[burst.made]
        self.undo_log.put_piece(replace(loom.pieces[node.piece], data=burst.data))
        node = node.holding((PieceSlice(node.piece, 0, len(burst.data)),))
        burst.step.put(loom, node.id, node)
