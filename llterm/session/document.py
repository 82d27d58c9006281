"""A loom being written: its story, tree, settings, history, and the file they are kept in.
Synchronous."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

from llterm.core.edits import replace_range
from llterm.core.history import UndoStep, Value
from llterm.core.loom_tree import Piece
from llterm.core.weave_settings import WeaveSettings
from llterm.errors import LltermError
from llterm.session.manuscript import Change, Manuscript
from llterm.session.tree_commands import TreeCommands
from llterm.session.undo_log import UndoLog
from llterm.store.file import LoomFile, fresh_loom
from llterm.store.late_reads import Unreadable
from llterm.store.loom_snapshot import LoomSnapshot
from llterm.store.stored_rows import Changes, Contents
from llterm.store.stored_settings import read_rules, rules_text

log = logging.getLogger(__name__)


class Document(Manuscript):
    """The truth about a loom; editors show a copy of `text` and follow the changes."""

    def __init__(self, file: LoomFile | None, contents: Contents) -> None:
        meta = contents.meta
        cursor = int(meta["cursor"]) if "cursor" in meta else None
        super().__init__(UndoLog(file, contents), cursor, str(meta.get("model", "")))
        self.branches = TreeCommands(self)
        """Commands on the tree, and marks."""
        self._missing_lines = Unreadable()
        self.rules = read_rules(str(meta.get("rules", "{}")))
        self.prefix = str(meta.get("prefix", ""))
        self.sampling = str(meta.get("sampling", "{}"))
        self.chat = str(meta.get("chat", ""))
        self.constraint = str(meta.get("constraint", ""))

    @classmethod
    def open(
        cls, path: Path, waiting: Callable[[str], None] | None = None, *, reading: bool = False
    ) -> Document:
        """An existing loom. Raises UsageError where the file is none or is damaged.

        With `waiting` an llterm that is just ending gets a moment, and it is told what for.
        `reading`: others may write it, until `take`.
        """
        file = LoomFile(path, reading=reading, waiting=waiting)
        try:
            return cls(file, file.load())
        except BaseException:
            file.close()
            raise

    @classmethod
    def create(cls, path: Path, text: bytes = b"", rules: WeaveSettings | None = None) -> Document:
        """A new loom, which has its name only when its beginning is on disk.

        Raises UsageError where the file exists or cannot be made.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        cls.scratch(text, rules).copy_to(path)
        return cls.open(path)

    @classmethod
    def scratch(cls, text: bytes = b"", rules: WeaveSettings | None = None) -> Document:
        """A loom in memory."""
        undo_log = UndoLog(None, contents := Contents())
        if text:
            piece = undo_log.new_piece(Piece(0, text, created=time.time()))
            # The beginning is no step: there is nothing before it to go back to.
            replace_range(
                contents.loom, UndoStep(""), undo_log.new_node, (0, 0, 0), piece, carry=False
            )
        document = cls(None, contents)
        document.rules = rules or WeaveSettings()
        return document

    # --- what there is

    @property
    def path(self) -> Path | None:
        return self.undo_log.file.path if self.undo_log.file else None

    @property
    def followed(self) -> bool:
        """Whether another llterm was found to write it; once that has ended this one may."""
        file = self.undo_log.file
        return file is not None and file.held

    @property
    def damage(self) -> str:
        """What of this loom is damaged and was not needed to open it; empty where all is sound."""
        return self.undo_log.file.damage if self.undo_log.file else ""

    @property
    def undo_label(self) -> str | None:
        last = self.undo_log.history.last()
        return last.label if last is not None else None

    @property
    def redo_label(self) -> str | None:
        undone = reversed(self.undo_log.history.undone)
        return next((step.label for step in undone if not step.silent), None)

    # --- settings and history

    def set_rules(self, rules: WeaveSettings) -> None:
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
        """What the story is a reply to, as `core.chat_messages` writes it; empty: nothing."""
        self._set("chat", "chat", self.chat, text)
        self.chat = text

    def set_constraint(self, text: str) -> None:
        """What suggestions must fit, as `constraints.spec` writes it; empty: anything."""
        self._set("constraint", "constraint", self.constraint, text)
        self.constraint = text

    def _followed(self, meta: Mapping[str, Value]) -> Change:
        self._take_settings(meta)
        self.undo_log.pending = Changes()
        return super()._followed(meta)

    def undo(self) -> Change | None:
        """Take back the last step; None when there is none."""
        self._writable()
        self.checkpoint()
        return self._travel(self.undo_log.history.back(), undone=True)

    def redo(self) -> Change | None:
        self._writable()
        self.checkpoint()
        return self._travel(self.undo_log.history.forth(), undone=False)

    # --- keeping it

    def secure(self) -> None:
        """Write what is not written yet, and see that the file holds the story.

        Raises LltermError where it does not: then only a copy keeps it.
        """
        self.checkpoint()
        self.undo_log.secure()

    def bear(self, heard: Callable[[Unreadable], None]) -> None:
        """Go on without what cannot be read of the file any more. `heard` is told when something
        of a new kind is missing; until this is called it raises LltermError instead."""
        if self.undo_log.file is not None:
            self.undo_log.file.late.missing = Unreadable(heard)

    def whole(self, *, history: bool = False) -> LoomSnapshot:
        """All of this loom as it is on screen, for an export, whatever became of its file."""
        self.checkpoint()
        meta: dict[str, Value] = {
            "rules": rules_text(self.rules), "prefix": self.prefix, "cursor": self._cursor,
            "model": self._model, "sampling": self.sampling, "chat": self.chat,
            "constraint": self.constraint,
        }  # fmt: skip
        return self.undo_log.whole(meta, history=history)

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
        self._save(lambda file: file.save_weave(self.loom.head, blob))

    def load_weave(self) -> bytes | None:
        """The suggestions kept for the story as it stands."""
        file = self.undo_log.file
        return file.late.weave(self.loom.head) if file else None

    def save_lines(self, before: bytes, blob: bytes) -> None:
        """Keep the lines sampled after this text; a failure is only logged."""
        place, now = _place(before), time.time()
        self._lines[place] = now, blob
        self._save(lambda file: file.save_samples(place, now, blob))

    def load_lines(self, before: bytes) -> bytes:
        """The lines sampled after this text, on whichever branch; empty where there are none."""
        return self._lines.get(_place(before), (0.0, b""))[1] if self._lines else b""

    @cached_property
    def _lines(self) -> dict[int, tuple[float, bytes]]:
        file = self.undo_log.file
        if file is None:
            return {}
        with file.late.sparing() as self._missing_lines:
            return file.late.samples()

    def close(self) -> None:
        """Write and close. Closes also when writing fails, and raises LltermError then."""
        self.checkpoint()
        self.undo_log.close()

    # --- inner workings

    def _save(self, write: Callable[[LoomFile], None]) -> None:
        file = self.undo_log.file
        if file and not self.read_only:
            try:
                write(file)
            except LltermError as error:
                log.warning("%s: %s", error.title, error.cause)

    def _set(self, name: str, label: str, before: str, after: str) -> None:
        self._writable()
        if before != after:
            self.checkpoint()
            self.undo_log.set(name, label, before, after)
            self.revision += 1

    def _travel(self, steps: list[UndoStep], *, undone: bool) -> Change | None:
        if not steps:
            return None
        facts = self.undo_log.travel(steps, undone=undone)
        self._take_settings(facts)
        change = self._reread(int(facts.get("cursor", self._cursor)))
        self.undo_log.commit()
        return change

    def _take_settings(self, facts: Mapping[str, Value]) -> None:
        if "rules" in facts:
            self.rules = read_rules(str(facts["rules"]))
            self.undo_log.keep("rules", facts["rules"])
        for name in {"prefix", "sampling", "chat", "constraint"} & facts.keys():
            setattr(self, name, str(facts[name]))
            self.undo_log.keep(name, facts[name])


def _place(before: bytes) -> int:
    """A number for the text before a place: the same on every branch that has it."""
    return int.from_bytes(blake2b(before, digest_size=8).digest(), signed=True)
