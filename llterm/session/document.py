"""A loom being written: story, tree, history, and the file they are kept in. Synchronous."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from llterm.core.display import Display
from llterm.core.editing import replace_range, revive
from llterm.core.history import Step, Value
from llterm.core.loom import PERSON, ROOT, Loom, Piece, Run
from llterm.core.rules import Rules
from llterm.errors import LltermError, UsageError
from llterm.session.changes import (
    Burst,
    Change,
    Grown,
    ModelRun,
    born,
    difference,
    lengthened,
)
from llterm.store.file import Changes, Contents, LoomFile
from llterm.store.settings import changed, read_rules, rules_text

__all__ = ["Change", "Document", "ModelRun"]

log = logging.getLogger(__name__)


class Document:
    """The truth about a story; editors show a copy of `text` and follow the changes."""

    def __init__(self, file: LoomFile | None, contents: Contents) -> None:
        self._file = file
        self.loom: Loom = contents.loom
        self._history = contents.history
        self._pending = Changes()
        self._burst: Burst | None = None
        self._grown: Grown | None = None
        self._data = b"".join(map(self.loom.data, self.loom.path()))
        self._display = Display.of(self._data)
        meta = contents.meta
        self.rules = read_rules(str(meta.get("rules", "{}")))
        self.prefix = str(meta.get("prefix", ""))
        self.sampling = str(meta.get("sampling", "{}"))
        self.chat = str(meta.get("chat", ""))
        self._cursor = min(int(meta.get("cursor", len(self.text))), len(self.text))
        self._model = str(meta.get("model", ""))
        self._next_node = max(int(meta.get("next_node", 0)), max(self.loom.nodes, default=ROOT) + 1)
        self._next_piece = max(self.loom.pieces, default=0) + 1
        steps = (*self._history.done, *self._history.undone)
        self._next_step = max((step.id for step in steps), default=0) + 1
        self.revision = 0

    @classmethod
    def open(cls, path: Path) -> Document:
        """An existing loom. Raises UsageError where the file is none or is damaged."""
        file = LoomFile(path)
        try:
            return cls(file, file.load())
        except (ValueError, TypeError, AttributeError) as broken:
            file.close()
            raise file.broken(broken) from broken
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
        document._pending.meta["rules"] = rules_text(document.rules)
        if text:
            step = Step("begin")
            document._replace(step, (0, 0, 0), Piece(0, text), carry=False)
            # The beginning is no step: there is nothing before it to go back to.
            document._pending.nodes.update(document.loom.nodes)
            document._pending.meta["head"] = document.loom.head
            document._data, document._display = text, Display.of(text)
        document.cursor = len(document.text)
        document.flush()
        return document

    # --- what there is

    @property
    def path(self) -> Path | None:
        return self._file.path if self._file else None

    @property
    def read_only(self) -> bool:
        return bool(self._file and self._file.read_only)

    @property
    def notice(self) -> str:
        """Why this loom can only be read; empty when it can be written."""
        return self._file.notice if self._file else ""

    @property
    def model(self) -> str:
        """Name of the model used last; kept across restarts, and no step of the history."""
        return self._model

    @model.setter
    def model(self, name: str) -> None:
        if name != self._model:
            self._model = self._pending.meta["model"] = name

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
            self._pending.meta["cursor"] = offset

    @property
    def undo_label(self) -> str | None:
        if self._burst is not None:
            return self._burst.step.label
        return next((step.label for step in reversed(self._history.done) if not step.silent), None)

    @property
    def redo_label(self) -> str | None:
        undone = reversed(self._history.undone)
        return next((step.label for step in undone if not step.silent), None)

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
        left = len(self.bytes_before(at))
        runs: list[Run] = []
        for node in self.loom.path():
            if left <= 0:
                break
            runs += self.loom.runs(node, min(node.size, left))
            left -= node.size
        return runs

    # --- changing it

    def edit(self, start: int, stop: int, text: str) -> Change:
        """The person's typing, paste or deletion, in display offsets."""
        self._writable()
        data = _encoded(text)
        first = self._display.byte_offset(start)
        last = first if stop == start else self._display.byte_offset(stop)
        if self._data[first:last] == data:
            self.cursor = stop
            return Change(start, stop, self.text[start:stop], stop)
        burst = self._joined(first, last, data) or self._new_burst(first, last, data)
        self._carry_out(burst)
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
            step = Step("accept")
            made = self._fork(step, first, born(run))
            grown = Grown(step, made) if made is not None else None
        self.model = run.model
        change = self._landed(step, at, first, run.data)
        self._grown = grown
        return change

    def write(self, text: str, at: int) -> Change:
        """Put the person's text into the story. Text after `at` stays as the other branch."""
        self._writable()
        self.checkpoint()
        first, data = len(self.bytes_before(at)), _encoded(text)
        step = Step("put text")
        self._fork(step, first, Piece(0, data, PERSON, time.time()))
        return self._landed(step, at, first, data)

    def choose(self, node: int) -> Change:
        """Make the branch of this node the story, down to its newest leaf.

        Raises UsageError where there is no such node (an undo may have taken it away).
        """
        self._writable()
        self.checkpoint()
        if node not in self.loom.nodes:
            raise UsageError("That branch is not there", "An undo took it back.", "Redo first.")
        head = self.loom.deepest(node)
        if head == self.loom.head:
            return Change(self._cursor, self._cursor, "", self._cursor)
        self._revive()
        step = Step("choose a branch")
        step.fact("head", self.loom.head, head)
        before = self._cursor
        self.loom.head = head
        change = self._reread()
        step.fact("cursor", before, self._cursor)
        self._write_step(step)
        self._commit()
        return change

    def checkpoint(self) -> None:
        """End the burst of edits or tokens: what follows is a step of its own."""
        self._grown = None
        if self._burst is not None:
            self._burst = None
            self._commit()

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
        return self._travel(self._history.back(), undone=True)

    def redo(self) -> Change | None:
        self._writable()
        self.checkpoint()
        return self._travel(self._history.forth(), undone=False)

    # --- keeping it

    def flush(self) -> None:
        """Write what is not written yet. Raises LltermError when that fails; nothing is lost then:
        the story stays as it is here, and the next call tries again."""
        if self._file is None or self.read_only:
            self._pending = Changes()
        elif self._pending:
            self._file.commit(self._pending)
            self._pending = Changes()

    def save_weave(self, blob: bytes) -> None:
        """Keep the suggestions after the story as it stands; a failure is only logged."""
        if self._file and not self.read_only:
            try:
                self._file.save_weave(self.loom.head, blob)
            except LltermError as error:
                log.warning("%s: %s", error.title, error.cause)

    def load_weave(self) -> bytes | None:
        """The suggestions kept for the story as it stands."""
        return self._file.load_weave(self.loom.head) if self._file else None

    def close(self) -> None:
        """Write and close. Closes also when writing fails, and raises LltermError then."""
        try:
            self.checkpoint()
            self.flush()
        finally:
            if self._file:
                self._file.close()
                self._file = None

    # --- inner workings

    def _writable(self) -> None:
        if self.read_only:
            raise UsageError(
                "This loom is open for reading only",
                self.notice,
                "Close the other one and open it again, or work on a copy.",
            )

    def _joined(self, first: int, last: int, data: bytes) -> Burst | None:
        """The burst going on, with this edit in it, if the edit touches it."""
        burst = self._burst
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
        self._take_back(burst.step)
        return replace(burst, start=start, stop=stop, data=text, made=None)

    def _new_burst(self, first: int, last: int, data: bytes) -> Burst:
        self.checkpoint()
        undone = list(self._history.undone)
        kept = self._revive()
        burst = Burst(Step("typing"), first, last, data, self._data, kept=kept, undone=undone)
        burst.step.fact("cursor", self._cursor, self._cursor)
        return burst

    def _carry_out(self, burst: Burst) -> None:
        """Make the loom hold the burst as it is now."""
        if burst.data == burst.old[burst.start : burst.stop]:
            self._forget(burst)
            self._burst = None
            return
        self._burst = burst
        if burst.made is not None:
            self._amend(burst)
        else:
            piece = Piece(0, burst.data, PERSON, time.time()) if burst.data else None
            span = burst.start, burst.stop, len(burst.old)
            burst.made = self._replace(burst.step, span, piece, carry=True)
        self._write_step(burst.step)

    def _forget(self, burst: Burst) -> None:
        """A burst that came to nothing, such as a letter typed and deleted, is no step."""
        for step in (burst.step, burst.kept):
            if step is not None:
                self._take_back(step)
                self._pending.steps[step.id] = None, False
        gone = (burst.step, burst.kept)
        self._history.done = [
            step for step in self._history.done if not any(step is one for one in gone)
        ]
        self._history.undone = burst.undone
        self._pending.steps.update((step.id, (step, True)) for step in burst.undone)
        self._pending.meta["head"] = self.loom.head

    def _amend(self, burst: Burst) -> None:
        """The person's own fresh node takes other text: no second node for a second letter."""
        assert burst.made is not None
        node = self.loom.nodes[burst.made]
        piece = replace(self.loom.pieces[node.piece], data=burst.data)
        self.loom.pieces[piece.id] = self._pending.pieces[piece.id] = piece
        node = replace(node, stop=len(burst.data))
        burst.step.put(self.loom, node.id, node)
        self._pending.nodes[node.id] = node

    def _fork(self, step: Step, first: int, piece: Piece) -> int | None:
        """Let a piece follow the story's first bytes; what stood there stays as a branch."""
        self._revive()
        size = len(self._data)
        return self._replace(step, (first, size, size), piece, carry=False)

    def _landed(self, step: Step, at: int, first: int, data: bytes) -> Change:
        """The story ends in `data` now, from display offset `at`, byte `first`."""
        new = self._data[:first] + data
        before = self._cursor
        shown = self._display.replaced(at, len(self.text), data, new)
        change = self._show(*shown, new, len(new))
        step.fact("cursor", before, self._cursor)
        self._write_step(step)
        self._commit()
        return change

    def _lengthen(self, grown: Grown, run: ModelRun) -> None:
        """The model's own fresh node takes more tokens."""
        node = self.loom.nodes[grown.made]
        piece = lengthened(self.loom.pieces[node.piece], run)
        self.loom.pieces[piece.id] = self._pending.pieces[piece.id] = piece
        node = replace(node, stop=len(piece.data))
        grown.step.put(self.loom, node.id, node)

    def _take_back(self, step: Step) -> None:
        """Undo a burst's own rows, to make the step anew."""
        facts = step.apply(self.loom, "undo")
        self.loom.head = int(facts.get("head", self.loom.head))
        self._pending.nodes.update((id, before) for id, (before, _) in step.nodes.items())
        step.nodes.clear()
        step.splits.clear()

    def _replace(
        self, step: Step, span: tuple[int, int, int], piece: Piece | None, *, carry: bool
    ) -> int | None:
        number = None
        if piece is not None:
            number = self._next_piece
            self._next_piece += 1
            piece = replace(piece, id=number)
            self.loom.pieces[number] = self._pending.pieces[number] = piece
        return replace_range(self.loom, step, self._new_node, span, number, carry=carry)

    def _new_node(self) -> int:
        self._next_node += 1
        self._pending.meta["next_node"] = self._next_node
        return self._next_node - 1

    def _revive(self) -> Step | None:
        """Keep what was undone as branches, now that something else is done."""
        undone = self._history.undone
        if not undone:
            return None
        step = revive(self.loom, undone)
        for gone in undone:
            self._pending.steps[gone.id] = None, False
        undone.clear()
        if step.empty:
            return None
        self._write_step(step)
        return step

    def _set(self, name: str, label: str, before: str, after: str) -> None:
        self._writable()
        if before == after:
            return
        self.checkpoint()
        self._revive()
        step = self._last_setting(name, before, after) or Step(label)
        step.fact(name, before, after)
        self._pending.meta[name] = after
        done = self._history.done
        if step.empty and not (len(done) > 1 and done[-2].silent):
            done.pop()
            self._pending.steps[step.id] = None, False
        else:
            self._write_step(step)
        self._commit()
        self.revision += 1

    def _last_setting(self, name: str, before: str, after: str) -> Step | None:
        """The last step, where it is about this very setting."""
        last = self._history.done[-1] if self._history.done else None
        if last is None or set(last.facts) != {name}:
            return None
        first, second = map(str, last.facts[name])
        same = name == "prefix" or changed(first, second) == changed(before, after)
        return last if same else None

    def _write_step(self, step: Step) -> None:
        """Note a step as done, new or changed, and its rows for the next commit."""
        if not step.id:
            step.id = self._next_step
            self._next_step += 1
        done = self._history.done
        if not (done and done[-1] is step):
            done.append(step)
        self._pending.steps[step.id] = step, False
        for id in step.nodes:
            self._pending.nodes[id] = self.loom.nodes.get(id)
        self._pending.meta["head"] = self.loom.head

    def _travel(self, steps: list[Step], *, undone: bool) -> Change | None:
        if not steps:
            return None
        cursor = self._cursor
        for step in steps:
            facts = step.apply(self.loom, "undo" if undone else "redo")
            self._pending.steps[step.id] = step, undone
            for id in step.nodes:
                self._pending.nodes[id] = self.loom.nodes.get(id)
            cursor = self._take_facts(facts, cursor)
        self._pending.meta["head"] = self.loom.head
        change = self._reread(cursor)
        self._commit()
        return change

    def _take_facts(self, facts: Mapping[str, Value], cursor: int) -> int:
        self.loom.head = int(facts.get("head", self.loom.head))
        if "rules" in facts:
            self.rules = read_rules(str(facts["rules"]))
            self._pending.meta["rules"] = facts["rules"]
        for name in {"prefix", "sampling", "chat"} & facts.keys():
            self._pending.meta[name] = facts[name]
            setattr(self, name, str(facts[name]))
        return int(facts["cursor"]) if "cursor" in facts else cursor

    def _reread(self, cursor: int | None = None) -> Change:
        """Show the story as the loom has it now."""
        data = b"".join(map(self.loom.data, self.loom.path()))
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
        if self._burst is not None:
            self._burst.step.fact("cursor", self._cursor, self._cursor)
        return replace(change, cursor=self._cursor)

    def _commit(self) -> None:
        """Write now. What cannot be written is kept, and `flush` says why: the story is changed
        already, and its editor must hear how."""
        try:
            self.flush()
        except LltermError as error:
            log.warning("%s: %s", error.title, error.cause)


def _encoded(text: str) -> bytes:
    """What a person typed, with the line ends of a story."""
    return text.replace("\r\n", "\n").replace("\r", "\n").encode("utf-8", "replace")
