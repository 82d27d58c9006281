"""One open loom and the weave at its cursor. Everything here runs on the event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import cast

from llterm.constraints.compiled import Compiled, compile
from llterm.constraints.spec import Constraint
from llterm.core.display import display_text
from llterm.core.healing import Healer
from llterm.core.query import Backend, Source
from llterm.core.reading import Reading, read_step
from llterm.core.rules import Rules
from llterm.core.tokens import Anchor, Tail
from llterm.core.view import View
from llterm.core.weave import Weave
from llterm.engine.drive import drive
from llterm.errors import BackendUnavailable, LltermError, UsageError
from llterm.session.document import Change, Document
from llterm.session.keeping import Kept, pack, unpack
from llterm.session.prompt import make_prompt
from llterm.session.reader import Reader
from llterm.session.status import Figures, Status
from llterm.session.taking import first_token, first_word, forced_run, model_run
from llterm.session.weaves import Place, Weaves, Woven

log = logging.getLogger(__name__)


class Session:
    """The document, its model, and the suggestions after the cursor."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.source: Source | None = None
        self.status = Status()
        self.at = document.cursor
        self.stale = False
        self._healer: Healer | None = None
        self._woven: Woven | None = None
        self._kept = Weaves()
        self._task: asyncio.Task[None] | None = None
        self._view: View | None = None
        self._constraint: Constraint | None = None
        self._compiled: Compiled | None = None
        self._callbacks: list[Callable[[], None]] = []
        self.reader = Reader(self, self._changed)

    # --- what there is to see

    @property
    def weaving(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def shown(self) -> object:
        """Whose view this is: rows read while this was another object mean nothing any more."""
        return self._woven

    @property
    def view(self) -> View | None:
        """The suggestion tree; None when nothing was woven."""
        if self._view is None and self._woven is not None:
            self._view = self._woven.weave.view(running=self.weaving)
        return self._view

    @property
    def figures(self) -> Figures:
        """Figures of the weave on show; unlike `view`, they cost next to nothing."""
        woven = self._woven
        context = self.source.capabilities.context if self.source else 0
        if woven is None:
            return Figures(context=context)
        seconds = woven.seconds
        if self.weaving:
            seconds += time.monotonic() - self._started
        return Figures(
            seconds=seconds,
            tokens=woven.cost.tokens,
            prompt_tokens=woven.cost.prompt_tokens,
            decodes=woven.cost.decodes,
            requests=woven.cost.requests,
            story_tokens=woven.prompt.story_tokens,
            context=context,
            window_start=self._display_offset(woven.prompt.window_start),
        )

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever view, status or figures changed; returns how to end that."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    @property
    def backend(self) -> Backend | None:
        """The source, where it is one that can read a text."""
        source = self.source
        return cast(Backend, source) if source is not None and hasattr(source, "score") else None

    # --- the model

    def attach(self, source: Source) -> None:
        """A model is ready. Suggestions kept in the loom come back if they are still its own."""
        self.stop()
        self.source = source
        self.reader.forget()
        self._healer = None
        self._woven = None
        self._restore(source)
        self._say(Status("ready"))

    def loading(self, progress: float) -> None:
        self._say(Status("loading", progress=progress))

    def failed(self, error: LltermError) -> None:
        self._say(Status("failed", error=error))

    # --- the weave

    def weave(self) -> None:
        """Weave at the cursor; goes on where an earlier weave of the same text stands.

        Returns at once. Does nothing while that weave is running. Raises BackendUnavailable when
        there is no model yet.
        """
        source = self._model()
        self.document.checkpoint()
        place = self._place(self.document.cursor)
        if self.weaving and self._woven is not None and self._woven.place == place:
            return
        self.stop()
        self._show(self._find(place) or self._begin(place, source))
        self._run()

    def stop(self) -> None:
        """End the search; what it found stays. The caller is free at once."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
            if self._woven is not None:
                # The cancelled task would let go of its questions only later.
                self._woven.weave.let_go()
            self._pause()

    def grow(self, tail: Tail) -> None:
        """Go on from this branch, `Rules.depth` tokens further."""
        woven = self._current()
        self._model()
        woven.weave.grow(tail, self._rules.depth)
        self._changed()
        if not self.weaving:
            self._run()

    def set_rules(self, rules: Rules) -> None:
        """Other weave settings, at once: the tree is derived again, with no inference."""
        before = self.document.rules
        if rules == before:
            return
        self.document.set_rules(rules)
        self._follow_rules(before)

    @property
    def constraint(self) -> Constraint | None:
        """What suggestions must fit; None: anything."""
        return self._constraint

    async def set_constraint(self, constraint: Constraint | None) -> None:
        """Suggestions of later weaves must fit this, from the cursor on; compiled once.

        Raises UsageError for one that cannot be, and keeps the former then.
        """
        compiled = None
        if constraint is not None:
            vocabulary = self._model().vocabulary
            compiled = await asyncio.to_thread(compile, constraint, vocabulary)
        self._constraint, self._compiled = constraint, compiled
        self._look()

    @property
    def dead_ends(self) -> int:
        """Paths of the weave on show after which the constraint allows nothing."""
        return self._woven.weave.dead_ends if self._woven is not None else 0

    async def wait(self) -> None:
        """Until nothing is being woven. Raises what the weave failed with."""
        task = self._task
        if task is not None:
            await asyncio.wait([task])
        if self.status.state == "failed" and self.status.error is not None:
            raise self.status.error

    async def close(self) -> None:
        """End the search and close the document; the source is its owner's to close."""
        self.reader.stop()
        task = self._task
        self.stop()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)
        self._keep()
        self.document.close()

    # --- the story

    def edit(self, start: int, stop: int, text: str) -> Change:
        """The person's edit, in display offsets."""
        change = self.document.edit(start, stop, text)
        self._look()
        return change

    def move(self, cursor: int) -> None:
        """The cursor went to this display offset."""
        self.document.cursor = cursor
        self._look()

    def undo(self) -> Change | None:
        return self._step(self.document.undo)

    def redo(self) -> Change | None:
        return self._step(self.document.redo)

    def set_prefix(self, text: str) -> None:
        """The hidden text before the story."""
        self.document.set_prefix(text)
        self._look()

    # --- taking suggestions

    def accept(self, tail: Tail) -> Change:
        """Take a path of the tree, or the first tokens of one, into the story.

        What hangs below it becomes the new tree, with no inference.
        """
        woven = self._current()
        weave = woven.weave
        run = model_run(weave, tail, self._model())
        if not run.data:
            return Change(self.at, self.at, "", self.at)
        self.stop()
        change = self.document.accept(run, self.at)
        weave = weave.at(run.ids, Anchor(weave.anchor.tokens + run.ids))
        prompt = replace(
            woven.prompt,
            tokens=weave.anchor.tokens,
            residue=weave.residue,
            before=weave.before[-64:],
            story_tokens=woven.prompt.story_tokens + len(run.ids),
        )
        self._show(Woven(weave, self._place(self.document.cursor), prompt))
        return change

    def accept_text(self, tail: Tail, text: str) -> Change:
        """Take a suggestion as the person rewrote it: the text is theirs then."""
        self._current()
        if text == self.ghost(tail):
            return self.accept(tail)
        self.document.checkpoint()
        change = self.document.edit(self.at, self.at, text)
        self.document.checkpoint()
        self._look()
        return change

    def force(self, number: int, id: int, logprob: float) -> Change:
        """Let another token stand at a place of the story. What stood there stays as a branch."""
        source, place = self._model(), self.reader.places[number]
        token = source.vocabulary.token(id)
        at = self.document.display_offset(place.start)
        if token.special or len(self.document.bytes_before(at)) != place.start:
            raise UsageError(
                "This token cannot stand here",
                "It is no text, or the place is in the middle of a character.",
                "Choose another one.",
            )
        self.stop()
        self.document.checkpoint()
        change = self.document.accept(forced_run(source, token, logprob), at)
        self._look()
        return change

    def readings_of(self, tail: Tail) -> list[Reading]:
        """The tokens of a path of the tree as the model sees them; costs nothing.

        Those that only write again what the story ends in are left out.
        """
        woven, source = self._current(), self._model()
        weave, left = woven.weave, len(woven.weave.residue)
        readings = []
        for n, step in enumerate(weave.beam(tail).steps):
            left -= len(step.data)
            if left < 0:
                readings.append(read_step(step, weave.facts[tail[:n]], source.vocabulary, n))
        return readings

    def token_of(self, tail: Tail) -> Tail:
        """The least part of `tail` that adds text."""
        return first_token(self._current().weave, tail)

    def word_of(self, tail: Tail) -> Tail:
        """The part of `tail` that holds its first word: up to where the next one begins."""
        return first_word(self._current().weave, tail)

    def ghost(self, tail: Tail) -> str:
        """What accepting `tail` would add, as it would be shown."""
        return display_text(self._current().weave.beam(tail).data)

    # --- inner workings

    @property
    def _rules(self) -> Rules:
        """The weave settings for this source: depth counts its own tokens, which may be bytes."""
        rules = self.document.rules
        pieces = self.source.capabilities.pieces if self.source is not None else 1
        return replace(rules, depth=rules.depth * pieces) if pieces > 1 else rules

    def _model(self) -> Source:
        if self.source is None:
            raise self.status.error or BackendUnavailable(
                "No model is ready",
                "The model is still being loaded." if self.status.state == "loading" else "",
                "Wait for it, or choose another with --model.",
            )
        return self.source

    def _current(self) -> Woven:
        if self._woven is None:
            raise UsageError("There are no suggestions", "", "Weave first.")
        if self.stale:
            raise UsageError(
                "These suggestions belong to another text",
                "The story or the cursor has changed since they were woven.",
                "Weave again, or undo.",
            )
        return self._woven

    def _place(self, cursor: int) -> Place:
        fingerprint = self.source.vocabulary.fingerprint if self.source else ""
        before = self.document.bytes_before(cursor)
        return before, self.document.prefix, fingerprint, self._constraint

    def _find(self, place: Place) -> Woven | None:
        """An earlier weave of this very text, under the present rules."""
        found = self._kept.find(place)
        if found is None:
            return None
        if self._constraint is None and found.weave.rules.heal != self.document.rules.heal:
            return None
        if found.weave.rules != self._rules:
            found.weave = found.weave.under(self._rules)
        elif found.weave.spent:
            found.weave.extend()
        return found

    def _begin(self, place: Place, source: Source, kept: Kept | None = None) -> Woven:
        vocabulary, rules = source.vocabulary, self._rules
        if self._compiled is not None:
            # What the constraint is about begins at the cursor, not in the word before it.
            rules = replace(rules, heal=False)
        prompt = make_prompt(
            self.document.runs_before(self.document.cursor),
            self.document.prefix,
            vocabulary,
            rules,
            source.capabilities.context,
        )
        if prompt.residue and self._healer is None:
            self._healer = Healer(vocabulary)
        weave = Weave(
            vocabulary,
            Anchor(prompt.tokens),
            rules,
            residue=prompt.residue,
            before=prompt.before,
            healer=self._healer,
            facts=kept.facts if kept else None,
            grown=kept.grown if kept else (),
            constraint=self._compiled,
        )
        return Woven(weave, place, prompt)

    def _restore(self, source: Source) -> None:
        """Show the weave kept in the loom, where the story still stands as it did."""
        kept = unpack(self.document.load_weave() or b"")
        if kept is None or kept.fingerprint != source.vocabulary.fingerprint:
            return
        woven = self._begin(self._place(self.document.cursor), source, kept)
        if (woven.prompt.tokens, woven.prompt.residue) == (kept.tokens, kept.residue):
            woven.cost, woven.seconds = kept.cost, kept.seconds
            self._show(woven)

    def _keep(self) -> None:
        """Put the weave on show into the loom."""
        woven, source = self._woven, self.source
        unbound = woven is not None and woven.weave.constraint is None
        if woven is not None and unbound and source is not None and not self.stale:
            fingerprint = source.vocabulary.fingerprint
            self.document.save_weave(pack(woven.weave, fingerprint, woven.cost, woven.seconds))

    def _show(self, woven: Woven) -> None:
        self._woven = woven
        self.reader.stir()
        self._kept.keep(woven)
        self.at = self.document.cursor
        self.stale = False
        self._changed()

    def _look(self) -> None:
        """The text or the cursor changed: are the suggestions still those of this place?"""
        self.reader.stir()
        woven = self._woven
        if woven is None:
            return
        place = self._place(self.document.cursor)
        if woven.place != place and not self.weaving:
            woven = self._find(place) or woven
        self.stale = woven.place != place
        if not self.stale:
            self._woven = woven
            self.at = self.document.cursor
        self._changed()

    def _step(self, step: Callable[[], Change | None]) -> Change | None:
        before = self.document.rules
        change = step()
        self._look()
        self._follow_rules(before)
        return change

    def _follow_rules(self, before: Rules) -> None:
        """Derive the tree again under the document's rules; go on searching if it was."""
        rules, woven = self.document.rules, self._woven
        if woven is None or rules == before:
            return
        running = self.weaving
        self.stop()
        if rules.heal != before.heal:
            self._look()
            self.stale = True
            return
        woven.weave = woven.weave.under(self._rules)
        self._changed()
        if running:
            self._run()

    def _run(self) -> None:
        assert self._woven is not None
        self._started = time.monotonic()
        self.status = Status("weaving")
        self._task = asyncio.get_running_loop().create_task(self._drive(self._woven))
        self._changed()

    async def _drive(self, woven: Woven) -> None:
        status = Status("ready")
        try:
            async for cost in drive(woven.weave, self._model()):
                woven.cost += cost
                self._changed()
        except LltermError as error:
            status = Status("failed", error=error)
        except Exception as fault:
            log.exception("the weave failed")
            cause = f"{type(fault).__name__}: {fault}"
            status = Status("failed", error=LltermError("The weave failed", cause, "See the log."))
        self._task = None
        self._pause(status)

    def _pause(self, status: Status | None = None) -> None:
        if self._woven is not None:
            self._woven.seconds += time.monotonic() - self._started
            self._keep()
        self._say(status or Status("ready"))

    def _say(self, status: Status) -> None:
        self.status = status
        self.reader.stir()
        self._changed()

    def _changed(self) -> None:
        self._view = None
        for callback in tuple(self._callbacks):
            callback()

    def _display_offset(self, size: int) -> int:
        """Where the story's first `size` bytes end, on screen."""
        return self.document.display_offset(size) if size else 0
