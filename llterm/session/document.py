"""A loom being written: story, tree, history, and the file they are kept in. Synchronous."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from llterm.core.display import Display
from llterm.core.edits import lead, replace_range
from llterm.core.history import UndoStep, Value
from llterm.core.loom_tree import ROOT, Loom, Piece, Run, Slice
from llterm.core.provenance import Provenance, read_provenance
from llterm.core.rules import Rules
from llterm.errors import LltermError, UsageError
from llterm.session.branches import Branches
from llterm.session.changes import (
    Change,
    Grown,
    ModelRun,
    difference,
    encoded,
    lengthened,
)
from llterm.session.ledger import Ledger
from llterm.session.typing import Typist
from llterm.store.contents import Contents
from llterm.store.file import LoomFile
from llterm.store.fresh import fresh_loom
from llterm.store.loom_snapshot import LoomSnapshot
from llterm.store.stored_settings import read_rules, rules_text
from llterm.store.unreadable import Unreadable

__all__ = ["Change", "Document", "ModelRun"]

log = logging.getLogger(__name__)


class Document:
    """The truth about a story; editors show a copy of `text` and follow the changes."""

    def __init__(self, file: LoomFile | None, contents: Contents) -> None:
        self._ledger = Ledger(file, contents)
        self._typist = Typist(self._ledger)
        self.loom: Loom = contents.loom
        self._grown: Grown | None = None
        self._missing_lines = Unreadable()
        self.branches = Branches(self, self._ledger)
        """Commands on the tree, and marks."""
        self._data = self.loom.text()
        self._display = Display.of(self._data)
        meta = contents.meta
        self.rules = read_rules(str(meta.get("rules", "{}")))
        self.prefix = str(meta.get("prefix", ""))
        self.sampling = str(meta.get("sampling", "{}"))
        self.chat = str(meta.get("chat", ""))
        self._cursor = min(int(meta.get("cursor", len(self.text))), len(self.text))
        self._model = str(meta.get("model", ""))
        self.revision = 0

    @classmethod
    def open(cls, path: Path, waiting: Callable[[str], None] | None = None) -> Document:
        """An existing loom. Raises UsageError where the file is none or is damaged.

        With `waiting` an llterm that is just ending gets a moment, and it is told what for.
        """
        file = LoomFile(path, waiting=waiting)
        try:
            return cls(file, file.load())
        except BaseException:
            file.close()
            raise

    @classmethod
    def create(cls, path: Path, text: bytes = b"", rules: Rules | None = None) -> Document:
        """A new loom. Raises UsageError where the file exists or cannot be made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        return cls._begun(LoomFile(path, new=True), text, rules)

    @classmethod
    def scratch(cls, text: bytes = b"", rules: Rules | None = None) -> Document:
        """A loom in memory."""
        return cls._begun(None, text, rules)

    @classmethod
    def _begun(cls, file: LoomFile | None, text: bytes, rules: Rules | None) -> Document:
        document = cls(file, Contents())
        document.rules = rules or Rules()
        ledger = document._ledger
        ledger.keep("rules", rules_text(document.rules))
        if text:
            piece = ledger.new_piece(Piece(0, text, created=time.time()))
            # The beginning is no step: there is nothing before it to go back to.
            replace_range(
                document.loom, UndoStep(""), ledger.new_node, (0, 0, 0), piece, carry=False
            )
            ledger.pending.nodes.update(document.loom.nodes)
            ledger.keep("head", document.loom.head)
            document._data, document._display = text, Display.of(text)
        document.cursor = len(document.text)
        document.flush()
        return document

    # --- what there is

    @property
    def path(self) -> Path | None:
        return self._ledger.file.path if self._ledger.file else None

    @property
    def read_only(self) -> bool:
        return self._ledger.read_only

    @property
    def notice(self) -> str:
        """Why this loom can only be read; empty when it can be written."""
        return self._ledger.file.notice if self._ledger.file else ""

    @property
    def damage(self) -> str:
        """What of this loom is damaged and was not needed to open it; empty where all is sound."""
        return self._ledger.file.damage if self._ledger.file else ""

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

    @property
    def undo_label(self) -> str | None:
        last = self._ledger.history.last()
        return last.label if last is not None else None

    @property
    def redo_label(self) -> str | None:
        undone = reversed(self._ledger.history.undone)
        return next((step.label for step in undone if not step.silent), None)

    def birth(self, piece: int) -> Provenance:
        """What a model's text was born with; an empty one of the person's text."""
        found = self.loom.pieces[piece].birth
        if not found and self._ledger.file is not None:
            found = self._ledger.file.late.births([piece]).get(piece, "")
        return read_provenance(found)

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
            grown = Grown(step, self._fork(step, first, run.piece(time.time())))
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

    def set_rules(self, rules: Rules) -> None:
        """Other weave settings: a step that can be undone; changes in a row are one."""
        self._set("rules", "weave settings", rules_text(self.rules), rules_text(rules))
        self.rules = rules

    def set_prefix(self, text: str) -> None:
        """The hidden text before the story."""
        self._set("prefix", "hidden prefix", self.prefix, text)
        self.prefix = text

    def set_sampling(self, text: str) -> None:
        """Other sampler settings, as the store writes them."""
        self._set("sampling", "sampler settings", self.sampling, text)
        self.sampling = text

    def set_chat(self, text: str) -> None:
        """What the story is a reply to, as `core.chat` writes it; empty: nothing."""
        self._set("chat", "chat", self.chat, text)
        self.chat = text

    def undo(self) -> Change | None:
        """Take back the last step; None when there is none."""
        self._writable()
        self.checkpoint()
        return self._travel(self._ledger.history.back(), undone=True)

    def redo(self) -> Change | None:
        self._writable()
        self.checkpoint()
        return self._travel(self._ledger.history.forth(), undone=False)

    # --- keeping it

    def flush(self) -> None:
        """Write what is not written yet. Raises LltermError when that fails; nothing is lost then:
        the story stays as it is here, and the next call tries again."""
        self._ledger.flush()

    def secure(self) -> None:
        """Write what is not written yet, and see that the file holds the story.

        Raises LltermError where it does not: then only a copy keeps it.
        """
        self.checkpoint()
        self._ledger.secure()

    def bear(self, heard: Callable[[Unreadable], None]) -> None:
        """Go on without what cannot be read of the file any more. `heard` is told when something
        of a new kind is missing; until this is called it raises LltermError instead."""
        if self._ledger.file is not None:
            self._ledger.file.late.missing = Unreadable(heard)

    def whole(self, *, history: bool = False) -> LoomSnapshot:
        """All of this loom as it is on screen, for an export, whatever became of its file."""
        self.checkpoint()
        meta: dict[str, Value] = {
            "rules": rules_text(self.rules), "prefix": self.prefix, "cursor": self._cursor,
            "model": self._model, "sampling": self.sampling, "chat": self.chat,
        }  # fmt: skip
        return self._ledger.whole(meta, history=history)

    def copy_to(self, path: Path) -> Unreadable:
        """Write all of this loom, its history too, to a new file; this one stays open.

        Also where its own file cannot be written or read any more: what is missing is returned.
        Raises LltermError, and leaves no file behind then.
        """
        whole, lines = self.whole(history=True), self._lines
        with fresh_loom(path) as file:
            file.commit(whole.changes())
            for place, (drawn, blob) in lines.items():
                file.save_samples(place, drawn, blob)
        whole.missing.take(self._missing_lines)
        return whole.missing

    def save_weave(self, blob: bytes) -> None:
        """Keep the suggestions after the story as it stands; a failure is only logged."""
        file = self._ledger.file
        if file and not self.read_only:
            try:
                file.save_weave(self.loom.head, blob)
            except LltermError as error:
                log.warning("%s: %s", error.title, error.cause)

    def load_weave(self) -> bytes | None:
        """The suggestions kept for the story as it stands."""
        file = self._ledger.file
        return file.late.weave(self.loom.head) if file else None

    def save_lines(self, before: bytes, blob: bytes) -> None:
        """Keep the lines sampled after this text; a failure is only logged."""
        file, place, now = self._ledger.file, _place(before), time.time()
        self._lines[place] = now, blob
        if file and not self.read_only:
            try:
                file.save_samples(place, now, blob)
            except LltermError as error:
                log.warning("%s: %s", error.title, error.cause)

    def load_lines(self, before: bytes) -> bytes:
        """The lines sampled after this text, on whichever branch; empty where there are none."""
        return self._lines.get(_place(before), (0.0, b""))[1] if self._lines else b""

    @cached_property
    def _lines(self) -> dict[int, tuple[float, bytes]]:
        file = self._ledger.file
        if file is None:
            return {}
        with file.late.sparing() as self._missing_lines:
            return file.late.samples()

    def close(self) -> None:
        """Write and close. Closes also when writing fails, and raises LltermError then."""
        self.checkpoint()
        self._ledger.close()

    # --- inner workings

    def _writable(self) -> None:
        if self.read_only:
            raise UsageError(
                "This loom is open for reading only",
                self.notice,
                "Export it as a loom, and write in that copy.",
            )

    def _fork(self, step: UndoStep, first: int, piece: Piece) -> int:
        """Let a piece follow the story's first bytes; its node. The rest stays as a branch."""
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

    def _lengthen(self, grown: Grown, run: ModelRun) -> None:
        """The model's own fresh node takes more tokens."""
        node = self.loom.nodes[grown.made]
        piece = lengthened(self.loom.pieces[node.piece], run)
        self._ledger.put_piece(piece)
        node = node.holding((Slice(piece.id, 0, len(piece.data)),))
        grown.step.put(self.loom, node.id, node)

    def _set(self, name: str, label: str, before: str, after: str) -> None:
        self._writable()
        if before != after:
            self.checkpoint()
            self._ledger.set(name, label, before, after)
            self.revision += 1

    def _travel(self, steps: list[UndoStep], *, undone: bool) -> Change | None:
        if not steps:
            return None
        facts = self._ledger.travel(steps, undone=undone)
        self._take_settings(facts)
        change = self._reread(int(facts.get("cursor", self._cursor)))
        self._ledger.commit()
        return change

    def _take_settings(self, facts: Mapping[str, Value]) -> None:
        if "rules" in facts:
            self.rules = read_rules(str(facts["rules"]))
            self._ledger.keep("rules", facts["rules"])
        for name in {"prefix", "sampling", "chat"} & facts.keys():
            setattr(self, name, str(facts[name]))
            self._ledger.keep(name, facts[name])

    def _reread(self, cursor: int | None = None) -> Change:
        """Show the story as the loom has it now; the cursor stays where nothing changed."""
        data = self.loom.text()
        if data == self._data:
            self.revision += 1
            self.cursor = self._cursor if cursor is None else cursor
            return self.nothing()
        change = self._show(Display.of(data), 0, len(self.text), data, None)
        self.cursor = change.cursor if cursor is None else cursor
        return replace(change, cursor=self._cursor)

    def _show(
        self, display: Display, start: int, stop: int, data: bytes, size: int | None
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


def _place(before: bytes) -> int:
    """A number for the text before a place: the same on every branch that has it."""
    return int.from_bytes(blake2b(before, digest_size=8).digest(), signed=True)
