"""A story being written: its text and cursor, and every change as a step of the loom's history."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from llterm.core.display_text import DisplayText
from llterm.core.edits import lead, push_down, replace_range
from llterm.core.history import UndoStep, Value
from llterm.core.kernels import KernelKind
from llterm.core.loom_tree import ROOT, LoomTree, Piece, PieceSlice, Run
from llterm.core.provenance import (
    Alternative,
    Arrival,
    Provenance,
    provenance_text,
    read_provenance,
)
from llterm.core.tokens import Tail
from llterm.errors import UsageError
from llterm.session.bursts import Typist
from llterm.session.undo_log import UndoLog

_HALVES = re.compile("[\ud800-\udc7f\udd00-\udfff]")
"""Halves of surrogate pairs, less those that stand for broken bytes."""
MOST_TOKENS = 64
"""A longer play is several nodes, each a step of its own: an undo takes back a piece of it."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a copy of the display must do to follow: put `text` in place of `start` to `stop`."""

    start: int
    stop: int
    text: str
    cursor: int


@dataclass(frozen=True, slots=True)
class ModelRun:
    """Tokens of a suggestion on their way into a story."""

    ids: Tail
    sizes: Tail
    """Bytes of each token; 0 for a special one."""
    data: bytes
    """What it adds to the story."""
    logprobs: tuple[float, ...]
    overlap: int
    """How many bytes before it its first tokens re-encode."""
    model: str
    fingerprint: str
    settings: dict[str, object]
    alternatives: tuple[tuple[Alternative, ...], ...]
    """The best few candidates at each token."""
    rejected: tuple[tuple[bytes, float], ...] = ()
    """Other suggestions that were there: text and joint logprob."""
    by: tuple[str, ...] = ()
    """Of a mix: the model that each token came from; see `Provenance`."""
    arrivals: tuple[Arrival, ...] = ()
    """How each token came; see `Provenance`."""
    kernels: KernelKind | None = None
    """What the logprobs were computed with; None where that was elsewhere."""

    def piece(self, created: float) -> Piece:
        """The run as a loom keeps it."""
        settings = self.settings | ({"kernels": "fast"} if self.kernels == "fast" else {})
        birth = provenance_text(
            Provenance(settings, self.alternatives, self.rejected, self.by, self.arrivals)
        )
        return Piece(
            0, self.data, self.model, created, self.ids, self.sizes, self.overlap,
            self.fingerprint, self.logprobs, birth,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LastAccept:
    """The accept done last: what comes right after it may go into it, or hang below it."""

    step: UndoStep
    made: int
    """Its node."""
    head: int
    """Where the story ended then."""
    end: int
    """How many bytes of the story there were up to the end of its text."""

    def is_before(self, first: int, undo_log: UndoLog) -> bool:
        """Whether nothing was done since, and its text ends at this byte of the story."""
        here = (first, undo_log.loom.head) == (self.end, self.head)
        return here and undo_log.history.last() is self.step

    def takes(self, run: ModelRun, loom: LoomTree) -> bool:
        """Whether these tokens may go into its node."""
        piece = loom.pieces[loom.nodes[self.made].piece]
        same = (piece.author, piece.fingerprint) == (run.model, run.fingerprint)
        return same and not run.overlap and len(piece.sizes) < MOST_TOKENS


class Manuscript:
    """The story as an editor shows it, and what is done to it. Editors follow the changes."""

    def __init__(self, undo_log: UndoLog, cursor: int | None = None, model: str = "") -> None:
        """`cursor`: a display offset; None: at the end."""
        self.undo_log = undo_log
        self._typist = Typist(undo_log)
        self.loom: LoomTree = undo_log.loom
        self._accepted: LastAccept | None = None
        self._growing = False
        """Whether tokens may still go into the node of the last accept."""
        self._data = self.loom.text()
        self._display = DisplayText.of(self._data)
        self._cursor = len(self.text) if cursor is None else min(cursor, len(self.text))
        self._model = model
        self.revision = 0

    # --- what there is

    @property
    def read_only(self) -> bool:
        return self.undo_log.read_only

    @property
    def notice(self) -> str:
        """Why this loom can only be read; empty when it can be written."""
        return self.undo_log.file.notice if self.undo_log.file else ""

    @property
    def model(self) -> str:
        """Name of the model used last; kept across restarts, and no step of the history."""
        return self._model

    @model.setter
    def model(self, name: str) -> None:
        if name != self._model:
            self._model = name
            self.undo_log.keep("model", name)

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
            self.undo_log.keep("cursor", offset)

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

    # --- what others write

    def follow(self) -> Change | None:
        """Show what another llterm wrote since; None where that is nothing. Raises LltermError."""
        meta = self.undo_log.follow()
        return self._followed(meta) if meta is not None else None

    def take(self) -> Change:
        """Become the one who writes this loom, as others left it. Raises UsageError where another
        llterm writes it, or nobody may."""
        return self._followed(self.undo_log.take()) if self.read_only else self.nothing()

    def release(self) -> None:
        """Let others write it, and follow them. Raises LltermError."""
        self.checkpoint()
        self.undo_log.release()

    def _followed(self, meta: Mapping[str, Value]) -> Change:
        """The story as it is now. The cursor stays at its text; at the end it goes along."""
        self._model = str(meta.get("model", self._model))
        self._accepted = None
        before, size = self._cursor, len(self.text)
        change = self._reread()
        grown = len(self.text) - size
        if before == size:
            self._cursor = len(self.text)
        elif before <= change.start:
            self._cursor = before
        else:
            self._cursor = max(before + grown, change.start)
        return replace(change, cursor=self._cursor)

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

    def accept(self, run: ModelRun, at: int, *, carry: bool = True, onward: bool = False) -> Change:
        """Put a suggestion into the story. Text after `at` is carried along, and the story without
        the suggestion stays as a branch; without `carry` that text is left to the old branch.

        What is taken right after an accept goes below that, and makes no branch again: else there
        would be one for each token that is taken in the middle. `onward`: it may go into that
        accept's node and step, so that a long play is not a node and a step for each token.
        """
        self._writable()
        first, carry = len(self.bytes_before(at)), carry and at < len(self.text)
        growing = onward and self._growing
        self.checkpoint()
        last = self._last_accept(first)
        if growing and last is not None and last.takes(run, self.loom):
            step, made = last.step, last.made
            self._lengthen(last, run)
        else:
            step = self.begin("insert" if carry else "accept")
            number = self.undo_log.new_piece(run.piece(time.time()))
            last = self._last_accept(first)
            if carry and last is not None:
                made = push_down(self.loom, step, self.undo_log.new_node, last.made, number)
            else:
                made = self._fork(step, first, number, carry=carry)
        self.model = run.model
        change = self._landed(step, at, first, run.data, carry=carry)
        self._accepted = LastAccept(step, made, self.loom.head, first + len(run.data))
        self._growing = True
        return change

    def end_at(self, at: int) -> Change:
        """End the story there; text after it stays as a branch."""
        first, size = len(self.bytes_before(at)), len(self._data)
        if first == size:
            return self.nothing()
        step, undo_log = self.begin("end the story here"), self.undo_log
        span = first, size, size
        replace_range(self.loom, step, undo_log.new_node, span, None, carry=False)
        return self.finish(step)

    def write(self, text: str, at: int) -> Change:
        """Put the person's text into the story. Text after `at` stays as the other branch."""
        step = self.begin("put text")
        first, data = len(self.bytes_before(at)), encoded(text)
        self._fork(step, first, self.undo_log.new_piece(Piece(0, data, created=time.time())))
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
        self.undo_log.revive()
        return UndoStep(label)

    def finish(self, step: UndoStep) -> Change:
        """Note a step that is done, and show the story as it is now."""
        before = self._cursor
        change = self._reread()
        step.fact("cursor", before, self._cursor)
        self.undo_log.write(step)
        self.undo_log.commit()
        return change

    def nothing(self) -> Change:
        """What an editor is told when nothing changed."""
        return Change(self._cursor, self._cursor, "", self._cursor)

    def checkpoint(self) -> None:
        """End the burst of edits or tokens: what follows is a step of its own."""
        self._growing = False
        if self._typist.end():
            self.undo_log.commit()

    # --- inner workings

    def _writable(self) -> None:
        if self.read_only:
            raise UsageError(
                "This loom is open for reading only",
                self.notice,
                "Export it as a loom, and write in that copy.",
            )

    def _last_accept(self, first: int) -> LastAccept | None:
        """The last thing done, where it was an accept whose text ends at this byte."""
        last = self._accepted
        return last if last is not None and last.is_before(first, self.undo_log) else None

    def _fork(self, step: UndoStep, first: int, piece: int, *, carry: bool = False) -> int:
        """Let a piece follow the story's first bytes; what followed them is a branch, and with
        `carry` it follows the piece too. Returns its node."""
        size = len(self._data)
        span = first, first if carry else size, size
        made = replace_range(self.loom, step, self.undo_log.new_node, span, piece, carry=carry)
        assert made is not None
        return made

    def _landed(
        self, step: UndoStep, at: int, first: int, data: bytes, *, carry: bool = False
    ) -> Change:
        """The story has `data` now at display offset `at`, byte `first`, and ends with it but for
        what was carried along."""
        rest = self._data[first:] if carry else b""
        new = self._data[:first] + data + rest
        before, stop = self._cursor, at if carry else len(self.text)
        change = self._show(*self._display.replaced(at, stop, data, new), new, first + len(data))
        step.fact("cursor", before, self._cursor)
        self.undo_log.write(step)
        self.undo_log.commit()
        return change

    def _lengthen(self, last: LastAccept, run: ModelRun) -> None:
        """The model's own fresh node takes more tokens."""
        node = self.loom.nodes[last.made]
        piece = lengthened(self.loom.pieces[node.piece], run)
        self.undo_log.put_piece(piece)
        node = node.holding((PieceSlice(piece.id, 0, len(piece.data)),))
        last.step.put(self.loom, node.id, node)

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


def lengthened(piece: Piece, run: ModelRun) -> Piece:
    """A piece with a run after it; the run's settings are the piece's own."""
    birth = read_provenance(piece.birth)
    unknown = (Arrival(),) * (len(piece.sizes) - len(birth.arrivals))
    birth = replace(
        birth,
        alternatives=birth.alternatives + run.alternatives,
        by=birth.by + run.by,
        arrivals=birth.arrivals + unknown + run.arrivals,
    )
    return replace(
        piece,
        data=piece.data + run.data,
        ids=(piece.ids or ()) + run.ids,
        sizes=piece.sizes + run.sizes,
        logprobs=piece.logprobs + run.logprobs,
        birth=provenance_text(birth),
    )


def difference(old: str, new: str, start: int, stop: int) -> Change:
    """The smallest single replacement that makes one text of the other.

    They are known to be equal before `start`, and after what is `stop` in the old one.
    """
    last = len(new) - len(old) + stop
    before, after = old[start:stop], new[start:last]
    first = _common(len(before), len(after), lambda size: before[:size] == after[:size])
    most = min(len(before), len(after)) - first
    end = _common(most, most, lambda size: not size or before[-size:] == after[-size:])
    return Change(start + first, stop - end, new[start + first : last - end], last - end)


def _common(first: int, second: int, same: Callable[[int], bool]) -> int:
    """The largest size for which `same` holds; it holds for all smaller ones."""
    low, high = 0, min(first, second)
    while low < high:
        middle = (low + high + 1) // 2
        if same(middle):
            low = middle
        else:
            high = middle - 1
    return low


def encoded(text: str) -> bytes:
    """What a person typed, with the line ends of a story; broken bytes stay what they are."""
    text = _HALVES.sub("?", text.replace("\r\n", "\n").replace("\r", "\n"))
    return text.encode("utf-8", "surrogateescape")
