"""The one log of a loom: steps done and undone, and their rows on the way to the file."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Literal

from llterm.core.history import UndoStep, Value, Way
from llterm.core.loom_tree import ROOT, LoomTree, Piece
from llterm.core.provenance import Provenance, read_provenance
from llterm.core.redo_branches import revive
from llterm.errors import LltermError, UsageError
from llterm.store.file import LoomFile
from llterm.store.loom_news import LoomNews
from llterm.store.loom_snapshot import LoomSnapshot, gathered
from llterm.store.stored_rows import Changes, Contents, check_step
from llterm.store.stored_settings import changed

log = logging.getLogger(__name__)

StepWay = Literal["done", "undone", "redone"]


class UndoLog:
    """Everything that changes a loom goes through here."""

    def __init__(self, file: LoomFile | None, contents: Contents) -> None:
        self.file = file
        self.loom: LoomTree = contents.loom
        self.pending = Changes()
        self.cut: frozenset[int] = frozenset()
        """Nodes that the last reviving cut off others: each was the end of the node above it."""
        self.heard: Callable[[UndoStep, StepWay], None] = lambda _, __: None
        """Told of every step that is done, done again or taken back, here or by another llterm."""
        self._version = file.loaded if file is not None else 0
        self._begin(contents)

    def _begin(self, contents: Contents) -> None:
        """Go on from these contents."""
        meta = contents.meta
        self.history = contents.history
        self.revision = int(meta.get("revision", 0))
        """How often the steps in the file were changed: each llterm that writes it counts on."""
        self._next_node = max(int(meta.get("next_node", 0)), max(self.loom.nodes, default=ROOT) + 1)
        self._next_piece = max(self.loom.pieces.texts, default=0) + 1
        steps = (*self.history.done, *self.history.undone)
        self._next_step = max((step.id for step in steps), default=0) + 1

    # --- new rows

    def new_node(self) -> int:
        """An id that no node ever had."""
        self._next_node += 1
        self.pending.meta["next_node"] = self._next_node
        return self._next_node - 1

    def new_piece(self, piece: Piece) -> int:
        """Take a text into the loom. Returns its id."""
        piece = replace(piece, id=self._next_piece)
        self._next_piece += 1
        self.put_piece(piece)
        return piece.id

    def put_piece(self, piece: Piece) -> None:
        self.loom.pieces.add(piece)
        self.pending.pieces[piece.id] = piece

    def birth(self, piece: int) -> Provenance:
        """What a model's text was born with; an empty one of the person's text."""
        text = self.loom.pieces[piece].birth
        if not text and self.file is not None:
            text = self.file.late.births([piece]).get(piece, "")
        return read_provenance(text)

    def keep(self, name: str, value: Value) -> None:
        """Keep a value that is no step."""
        self.pending.meta[name] = value

    def keep_sight(self, *ids: int) -> None:
        """Keep how these nodes are looked at now."""
        for id in ids:
            sight = self.loom.sight
            self.pending.sight[id] = id in sight.folded, id in sight.unread

    # --- steps

    def write(self, step: UndoStep) -> None:
        """Note a step as done, new or changed, and its rows for the next commit."""
        if not step.id:
            step.id = self._next_step
            self._next_step += 1
        if self.history.last() is not step:
            self.history.done.append(step)
        self.pending.steps[step.id] = step, False
        self._rows(step)
        self.heard(step, "done")

    def forget(self, *steps: UndoStep) -> None:
        """These steps never were; their rows are taken back already."""
        for step in steps:
            self.pending.steps[step.id] = None, False
        gone = {id(step) for step in steps}
        self.history.done = [step for step in self.history.done if id(step) not in gone]
        self.pending.meta["head"] = self.loom.head

    def take_back(self, step: UndoStep) -> None:
        """Undo the rows of a step that is to be made anew."""
        facts = step.apply(self.loom, "undo")
        self.loom.head = int(facts.get("head", self.loom.head))
        self._rows(step)
        step.nodes.clear()
        step.marks.clear()
        step.splits.clear()

    def restore(self, undone: list[UndoStep]) -> None:
        """These steps can be redone again."""
        self.history.undone = undone
        self.pending.steps.update((step.id, (step, True)) for step in undone)

    def revive(self) -> UndoStep | None:
        """Keep what was undone as branches, now that something else is done."""
        undone = self.history.undone
        self.cut = frozenset()
        if not undone:
            return None
        step = revive(self.loom, undone, self.new_node)
        self.cut = frozenset(right for _, right in step.splits)
        for gone in undone:
            self.pending.steps[gone.id] = None, False
        undone.clear()
        if step.empty:
            return None
        self.write(step)
        return step

    def set(self, name: str, label: str, before: str, after: str) -> None:
        """Another value of a setting, as a step; changes of the same one in a row are one."""
        self.revive()
        step = self._last_setting(name, before, after) or UndoStep(label)
        step.fact(name, before, after)
        self.keep(name, after)
        above = self.history.last(2)
        if step.empty and not (above is not None and above.silent):
            self.forget(step)
        else:
            self.write(step)
        self.commit()

    def travel(self, steps: list[UndoStep], *, undone: bool) -> dict[str, Value]:
        """Apply steps just taken from the history; the facts that hold now.

        Raises UsageError, and changes nothing, where the file was damaged and they cannot be.
        """
        facts: dict[str, Value] = {}
        way: tuple[Way, Way] = ("undo", "redo") if undone else ("redo", "undo")
        gone: list[UndoStep] = []
        try:
            for step in steps:
                facts.update(step.apply(self.loom, way[0]))
                gone.append(step)
            head = int(facts.get("head", self.loom.head))
            if not self.loom.holds(head):
                raise ValueError(f"the story would end in node {head}, which was deleted")
        except ValueError as error:
            for step in reversed(gone):
                step.apply(self.loom, way[1])
            self.history.put_back(steps, undone=undone)
            raise self._no_way(error) from error
        self.loom.head = head
        for step in steps:
            self.pending.steps[step.id] = step, undone
            self._rows(step)
            self.heard(step, "undone" if undone else "redone")
        return facts

    def _no_way(self, error: ValueError) -> UsageError:
        path = self.file.path if self.file is not None else ""
        return UsageError(
            "The history is damaged",
            f"{error}. The story stays as it is.",
            f"See what can be saved: llterm doctor '{path}'",
        )

    # --- what others write

    def follow(self) -> Mapping[str, Value] | None:
        """Read what another llterm wrote since; the values kept by name, as they are now.

        None where that is nothing. Raises LltermError.
        """
        file = self.file
        if file is None or not file.read_only or (version := file.version()) == self._version:
            return None
        self._version = version
        return self._follow(file)

    def take(self) -> Mapping[str, Value]:
        """Become the one who writes, and read what others wrote; the values kept by name.

        Raises UsageError where another llterm does, or nobody may.
        """
        file = self.file
        assert file is not None
        if not file.take():
            raise UsageError(
                "The loom cannot be written now", file.notice,
                "Try again when the other one has ended, or a minute after a server wrote last.",
            )  # fmt: skip
        try:
            return self._follow(file)
        except BaseException:
            file.release()
            raise

    def release(self) -> None:
        """Write what is not written yet, and let others write. Raises LltermError."""
        self.flush()
        if self.file is not None and not self.file.read_only:
            self._version = self.file.version()
            self.file.release()

    def _follow(self, file: LoomFile) -> Mapping[str, Value]:
        self.pending = Changes()
        news = file.news(self.history, max(self.loom.pieces.texts, default=0))
        if news is not None:
            try:
                return self._go_on(news)
            except (ValueError, KeyError) as odd:
                log.info("%s is read anew: %s", file.path.name, odd)
        contents = file.load()
        self.loom.become(contents.loom)
        self._begin(contents)
        return contents.meta

    def _go_on(self, news: LoomNews) -> Mapping[str, Value]:
        """Take over news. Raises ValueError where they do not fit, with the loom half changed."""
        loom, history, meta = self.loom, self.history, news.meta
        redone = {step.id for step in history.undone}
        loom.pieces.renew(news.texts)
        for step in news.gone:
            step.apply(loom, "undo")
        for step in (*news.done, *news.undone):
            check_step(step, loom)
        for step in news.done:
            step.apply(loom, "redo")
        del history.done[len(history.done) - len(news.gone) :]
        history.done += news.done
        history.undone = list(news.undone)
        loom.head = int(meta.get("head", ROOT))
        if not loom.holds(loom.head):
            raise ValueError(f"the story would end in node {loom.head}, which was deleted")
        for id, folded, unread in news.sight:
            loom.sight.note(id, folded=folded, unread=unread)
        self.revision = int(meta.get("revision", 0))
        self._next_node = max(int(meta.get("next_node", 0)), self._next_node)
        self._next_piece = max(self._next_piece, news.newest_piece + 1)
        self._next_step = max(self._next_step, news.newest_step + 1)
        for step in news.gone:
            self.heard(step, "undone")
        for step in news.done:
            self.heard(step, "redone" if step.id in redone else "done")
        return meta

    # --- the file

    @property
    def read_only(self) -> bool:
        return bool(self.file and self.file.read_only)

    def flush(self) -> None:
        """Write what is not written yet. Raises LltermError when that fails; nothing is lost then:
        all stays as it is here, and the next call tries again."""
        if self.file is None or self.read_only:
            self.pending = Changes()
        elif self.pending:
            if self.pending.steps:
                self.pending.meta["revision"] = self.revision + 1
            self.file.commit(self.pending)
            self.revision += bool(self.pending.steps)
            self.pending = Changes()

    def commit(self) -> None:
        """Write now. What cannot be written is kept, and `flush` says why: the story is changed
        already, and its editor must hear how."""
        try:
            self.flush()
        except LltermError as error:
            log.warning("%s: %s", error.title, error.cause)

    def whole(self, meta: dict[str, Value], *, history: bool) -> LoomSnapshot:
        """All that there is, whatever became of the file."""
        meta = {**meta, "next_node": self._next_node}
        late = self.file.late if self.file is not None else None
        return gathered(Contents(self.loom, self.history, meta), late, history=history)

    def secure(self) -> None:
        """Write what is not written yet, and see that the file holds all of it.

        Raises LltermError where it does not, or where something of it could not be read any more.
        """
        self.flush()
        if self.file is None or self.read_only:
            return
        self.file.check(len(self.loom.pieces.texts), len(self.loom.nodes))
        missing = self.file.late.missing
        if missing is not None and missing.trouble is not None:
            raise missing.trouble

    def close(self) -> None:
        """Write and close. Closes also when writing fails, and raises LltermError then."""
        try:
            self.flush()
        finally:
            if self.file:
                self.file.close()
                self.file = None

    def _last_setting(self, name: str, before: str, after: str) -> UndoStep | None:
        """The last step, where it is about this very setting."""
        last = self.history.last()
        if last is None or set(last.facts) != {name}:
            return None
        first, second = map(str, last.facts[name])
        same = name in {"prefix", "chat", "constraint"} or changed(first, second) == changed(
            before, after
        )
        return last if same else None

    def _rows(self, step: UndoStep) -> None:
        for id in step.nodes:
            self.pending.nodes[id] = self.loom.nodes.get(id)
        for id in step.marks:
            self.pending.marks[id] = self.loom.marks.get(id)
        self.pending.meta["head"] = self.loom.head
