"""A story being written: its text and cursor, and every change as a step of the loom's history."""

from __future__ import annotations

import time
from dataclasses import replace

from llterm.core.display import DisplayText
from llterm.core.edits import lead, replace_range
from llterm.core.history import UndoStep
from llterm.core.loom_tree import ROOT, Loom, Piece, PieceSlice, Run
from llterm.core.provenance import Provenance
from llterm.errors import UsageError
from llterm.session.bursts import Typist
from llterm.session.changes import Change, ModelRun, OpenAccept, difference, encoded, lengthened
from llterm.session.ledger import Ledger


class Manuscript:
    """The story as an editor shows it, and what is done to it. Editors follow the changes."""

    def __init__(self, ledger: Ledger, cursor: int | None = None, model: str = "") -> None:
        """`cursor`: a display offset; None: at the end."""
        self._ledger = ledger
        self._typist = Typist(ledger)
        self.loom: Loom = ledger.loom
        self._grown: OpenAccept | None = None
        self._data = self.loom.text()
        self._display = DisplayText.of(self._data)
        self._cursor = len(self.text) if cursor is None else min(cursor, len(self.text))
        self._model = model
        self.revision = 0

    # --- what there is

    @property
    def read_only(self) -> bool:
        return self._ledger.read_only

    @property
    def notice(self) -> str:
        """Why this loom can only be read; empty when it can be written."""
        return self._ledger.file.notice if self._ledger.file else ""

    @property
    def model(self) -> str:
        """Name of the model used last; kept across restarts, and no step of the history."""
        return self._model

    @model.setter
    def model(self, name: str) -> None:
        if name != self._model:
            self._model = name
            self._ledger.keep("model", name)

    @property
    def text(self) -> str:
        """The story as it is shown: one code point for each stand-in."""
        return self._display.text

    @property
    def cursor(self) -> int:
        """Display offset; kept across restarts."""
        return self._cursor

    @cursor.setter
    def cursor(self, offset: int) -> None:
        offset = min(max(offset, 0), len(self.text))
        if offset != self._cursor:
            self._cursor = offset
            self._ledger.keep("cursor", offset)

    def birth(self, piece: int) -> Provenance:
        """What a model's text was born with; an empty one of the person's text."""
        return self._ledger.birth(piece)

    def bytes_before(self, at: int) -> bytes:
        """The story's bytes up to a display offset."""
        if at >= len(self.text):
            return self._data
        return self._data[: self._display.byte_offset(at)]

    def display_offset(self, size: int) -> int:
        """The display offset after the story's first `size` bytes."""
        return self._display.offset_of(size)

    def runs_before(self, at: int) -> list[Run]:
        """The story up to a display offset, by author, a model's text in its own tokens."""
        return self.loom.runs_before(len(self.bytes_before(at)))

    # --- changing it

    def edit(self, start: int, stop: int, text: str) -> Change:
        """The person's typing, paste or deletion, in display offsets."""
        self._writable()
        data = encoded(text)
        first = self._display.byte_offset(start)
        last = first if stop == start else self._display.byte_offset(stop)
        if self._data[first:last] == data:
            self.cursor = stop
            return Change(start, stop, self.text[start:stop], stop)
        self._typist.edit(first, last, data, self._data, self._cursor)
        new = self._data[:first] + data + self._data[last:]
        return self._show(*self._display.replaced(start, stop, data, new), new, first + len(data))

    def accept(self, run: ModelRun, at: int, *, onward: bool = False) -> Change:
        """Put a suggestion into the story. Text after `at` stays behind as the other branch.

        `onward`: at the story's end it may go into the node and the step of the accept before it,
        if nothing was done since, so that a long play is not a node and a step for each token.
        """
        self._writable()
        grown = self._grown if onward else None
        self.checkpoint()
        first = len(self.bytes_before(at))
        if grown is not None and grown.takes(run, self.loom, first, len(self._data)):
            step = grown.step
            self._lengthen(grown, run)
        else:
            step = self.begin("accept")
            grown = OpenAccept(step, self._fork(step, first, run.piece(time.time())))
        self.model = run.model
        change = self._landed(step, at, first, run.data)
        self._grown = grown
        return change

    def write(self, text: str, at: int) -> Change:
        """Put the person's text into the story. Text after `at` stays as the other branch."""
        step = self.begin("put text")
        first, data = len(self.bytes_before(at)), encoded(text)
        self._fork(step, first, Piece(0, data, created=time.time()))
        return self._landed(step, at, first, data)

    def choose(self, node: int) -> Change:
        """Make the branch of this node the story, down to its newest leaf.

        Raises UsageError where there is no such node (an undo may have taken it away).
        """
        self.checkpoint()
        if node not in self.loom.nodes or not self.loom.holds(node):
            raise UsageError("That branch is not there", "An undo took it back.", "Redo first.")
        head = self.loom.deepest(node)
        if head == self.loom.head:
            return self.nothing()
        step = self.begin("choose a branch")
        lead(self.loom, step, head)
        return self.finish(step)

    def clear(self) -> Change:
        """An empty story, below the root; the one before stays as a branch."""
        self.checkpoint()
        if self.loom.head == ROOT:
            return self.nothing()
        step = self.begin("clear the story")
        lead(self.loom, step, ROOT)
        return self.finish(step)

    # --- steps of the tree commands

    def begin(self, label: str) -> UndoStep:
        """A new step, which `finish` ends. Raises UsageError where nothing may be written."""
        self._writable()
        self.checkpoint()
        self._ledger.revive()
        return UndoStep(label)

    def finish(self, step: UndoStep) -> Change:
        """Note a step that is done, and show the story as it is now."""
        before = self._cursor
        change = self._reread()
        step.fact("cursor", before, self._cursor)
        self._ledger.write(step)
        self._ledger.commit()
        return change

    def nothing(self) -> Change:
        """What an editor is told when nothing changed."""
        return Change(self._cursor, self._cursor, "", self._cursor)

    def checkpoint(self) -> None:
        """End the burst of edits or tokens: what follows is a step of its own."""
        self._grown = None
        if self._typist.end():
            self._ledger.commit()

    # --- inner workings

    def _writable(self) -> None:
        if self.read_only:
            raise UsageError(
                "This loom is open for reading only",
                self.notice,
                "Export it as a loom, and write in that copy.",
            )

    def _fork(self, step: UndoStep, first: int, piece: Piece) -> int:
        """Let a piece follow the story's first bytes; the rest is a branch. Returns its node."""
        size = len(self._data)
        number = self._ledger.new_piece(piece)
        made = replace_range(
            self.loom, step, self._ledger.new_node, (first, size, size), number, carry=False
        )
        assert made is not None
        return made

    def _landed(self, step: UndoStep, at: int, first: int, data: bytes) -> Change:
        """The story ends in `data` now, from display offset `at`, byte `first`."""
        new = self._data[:first] + data
        before = self._cursor
        shown = self._display.replaced(at, len(self.text), data, new)
        change = self._show(*shown, new, len(new))
        step.fact("cursor", before, self._cursor)
        self._ledger.write(step)
        self._ledger.commit()
        return change

    def _lengthen(self, grown: OpenAccept, run: ModelRun) -> None:
        """The model's own fresh node takes more tokens."""
        node = self.loom.nodes[grown.made]
        piece = lengthened(self.loom.pieces[node.piece], run)
        self._ledger.put_piece(piece)
        node = node.holding((PieceSlice(piece.id, 0, len(piece.data)),))
        grown.step.put(self.loom, node.id, node)

    def _reread(self, cursor: int | None = None) -> Change:
        """Show the story as the loom has it now; the cursor stays where nothing changed."""
        data = self.loom.text()
        if data == self._data:
            self.revision += 1
            self.cursor = self._cursor if cursor is None else cursor
            return self.nothing()
        change = self._show(DisplayText.of(data), 0, len(self.text), data, None)
        self.cursor = change.cursor if cursor is None else cursor
        return replace(change, cursor=self._cursor)

    def _show(
        self, display: DisplayText, start: int, stop: int, data: bytes, size: int | None
    ) -> Change:
        """Take over a new text, which may differ between these old offsets; the change it is.

        The cursor goes after the first `size` bytes, or to the end of the change.
        """
        change = difference(self._display.text, display.text, start, stop)
        self._display, self._data = display, data
        self.revision += 1
        self.cursor = change.cursor if size is None else display.offset_of(size)
        if self._typist.burst is not None:
            self._typist.burst.step.fact("cursor", self._cursor, self._cursor)
        return replace(change, cursor=self._cursor)
