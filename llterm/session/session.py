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
from llterm.core.bans import Bans
from llterm.core.chat import Chat, chat_text
from llterm.core.display import display_text
from llterm.core.query import Backend, Source
from llterm.core.reading import Reading
from llterm.core.rules import Rules
from llterm.core.sampling import Chain, SamplerSettings, Sampling
from llterm.core.tokens import Anchor, Tail
from llterm.core.view import View
from llterm.engine.drive import drive
from llterm.errors import LltermError, UsageError
from llterm.session import samples, taking
from llterm.session.autopilot import Autopilot
from llterm.session.chatting import root_text
from llterm.session.continuations import Continuations
from llterm.session.document import Change, Document, ModelRun
from llterm.session.keeping import Kept, pack, unpack
from llterm.session.player import Player
from llterm.session.reader import Reader
from llterm.session.refusals import cannot_stand, no_model, not_current
from llterm.session.sampling import SamplerChoice
from llterm.session.sources import check_constraints, listen_to, told_more
from llterm.session.status import Figures, Incoming, Status
from llterm.session.weaves import Place, Weaves, Woven, rules_for

log = logging.getLogger(__name__)


class Session:
    """The document, its model, and the suggestions after the cursor."""

    def __init__(self, document: Document, drawing: SamplerChoice | None = None) -> None:
        self.document = document
        self._drawing = drawing or SamplerChoice(document)
        self.source: Source | None = None
        self.status = Status()
        self.incoming: Incoming | None = None
        self.at = document.cursor
        self.stale = False
        self._woven: Woven | None = None
        self._kept = Weaves()
        self._models = 0
        """How many models there have been: a weave belongs to the one of its number."""
        self._task: asyncio.Task[None] | None = None
        self._view: View | None = None
        self.banned_shown = False
        self._constraint: Constraint | None = None
        self._compiled: Compiled | None = None
        self._callbacks: list[Callable[[], None]] = []
        self.reader = Reader(self, self._changed)
        self.resting = False
        self.player = Player(self, self._changed)
        self.autopilot = Autopilot(self, self._changed)
        self.continuations = Continuations(self, self._changed)

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
            weave = self._woven.weave
            view = weave.view(running=self.weaving, banned=self.banned_shown)
            if self._woven.samples:
                drawn = samples.rows(self._woven.samples)
                view = replace(view, branches=(*drawn, *view.branches))
            self._view = view
        return self._view

    @property
    def figures(self) -> Figures:
        """Figures of the weave on show; unlike `view`, they cost next to nothing."""
        woven = self._woven
        context = self.source.capabilities.context if self.source else 0
        if woven is None or self.foreign:
            return Figures(context=context)
        going = time.monotonic() - self._started if self.weaving else 0.0
        start = self._display_offset(woven.prompt.window_start)
        return woven.figures(context, woven.seconds + going, start)

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever view, status or figures changed; returns how to end that."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    @property
    def backend(self) -> Backend | None:
        """The source, where it is one that can read a text, and does not rest."""
        source = None if self.resting else self.source
        return cast(Backend, source) if source is not None and hasattr(source, "score") else None

    # --- the model

    def attach(self, source: Source) -> None:
        """A model is ready. Suggestions kept in the loom come back if they are still its own;
        those of the model before stay in sight, stale.

        What suggestions must fit is of the old vocabulary: `change_model` takes it along.
        """
        self._leave_model()
        self.source = source
        listen_to(source, self._changed)
        self._restore(source)
        self._say(Status("ready"))

    async def change_model(self, source: Source) -> None:
        """As `attach`, and what suggestions must fit stays in force."""
        constraint, compiled = self._constraint, self._compiled
        if constraint is not None:
            compiled = await asyncio.to_thread(compile, constraint, source.vocabulary)
        self.attach(source)
        self._constraint, self._compiled = constraint, compiled

    def detach(self) -> None:
        """Do without a model; its suggestions stay in sight, stale. Its owner closes it."""
        self._leave_model()
        self._say(Status("no model"))

    @property
    def foreign(self) -> bool:
        """Whether the suggestions on show are those of a model before this one."""
        return self._woven is not None and self._woven.place[2] != self._models

    def set_resting(self, resting: bool) -> None:
        """Nothing is evaluated while the model rests; what it said stays."""
        if resting:
            self.autopilot.stop()
            self.player.pause()
            self.continuations.stop()
            self.stop()
        self.resting = resting
        self._say(self.status)

    def loading(self, progress: float, name: str = "") -> None:
        """A model is being loaded; the one in use stays so until it is attached."""
        self.incoming = Incoming(name, progress)
        self._say(self.status if self.source else Status("loading", progress=progress))

    def failed(self, error: LltermError) -> None:
        """It could not be loaded: the one in use, if there is one, stays."""
        self.incoming = None
        self._say(self.status if self.source else Status("failed", error=error))

    # --- the weave

    def weave(self) -> None:
        """Weave at the cursor; goes on where an earlier weave of the same text stands.

        Returns at once. Does nothing while that weave is running. Raises BackendUnavailable when
        there is no model yet.
        """
        source = self._awake()
        self.player.pause()
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
        rules = rules_for(self.document.rules, self._awake())
        woven.weave.grow(tail, rules.depth)
        self._changed()
        if not self.weaving:
            self._run()

    def set_rules(self, rules: Rules) -> None:
        """Other weave settings, at once: the tree is derived again, with no inference."""
        before = self.document.rules
        if rules == before:
            return
        self.document.set_rules(rules)
        self._follow_rules(before, self.sampling.bans)

    @property
    def sampling(self) -> Sampling:
        """How tokens are drawn, and what is never written."""
        return self._drawing.sampling

    @property
    def presets(self) -> dict[str, SamplerSettings]:
        """Sampler presets by name, llterm's and the person's own."""
        return self._drawing.presets

    @property
    def chain(self) -> Chain:
        """The sampling made ready for the model. Raises BackendUnavailable without one."""
        return self._drawing.chain(self._model().vocabulary)

    def set_sampling(self, sampling: Sampling) -> None:
        """Another way to draw: a step of the history. Bans hold for suggestions too, at once."""
        bans = self.sampling.bans
        self._drawing.set(sampling)
        self._follow_rules(self.document.rules, bans)
        self._changed()

    def show_banned(self, shown: bool) -> None:
        """Whether the view has what bans and the constraint take, as rows that say so."""
        self.banned_shown = shown
        self._changed()

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
            check_constraints(self._model())
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
        self.player.pause()
        self.autopilot.stop()
        self.continuations.stop()
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

    def reshape(self, step: Callable[[], Change]) -> Change:
        """Do a command on the loom's tree (`Document.branches`, `choose`), and look again."""
        change = self._step(step)
        assert change is not None
        return change

    def set_prefix(self, text: str) -> None:
        """The hidden text before the story."""
        self.document.set_prefix(text)
        self._look()

    def set_chat(self, chat: Chat) -> None:
        """What the story is a reply to; an empty one makes it a story again."""
        self.document.set_chat(chat_text(chat))
        self._look()

    # --- taking suggestions

    def accept(self, tail: Tail) -> Change:
        """Take a path of the tree, or the first tokens of one, into the story.

        What hangs below it becomes the new tree, with no inference.
        """
        woven, source = self._current(), self._model()
        sample = samples.find(woven.samples, tail)
        if sample is not None:
            run = sample.run(len(tail) - 1, source)
        else:
            run = taking.model_run(woven.weave, tail, source)
        if not run.data:
            return Change(self.at, self.at, "", self.at)
        return self.land(run)

    def here(self) -> Woven:
        """The weave at the cursor, begun if there is none; nothing is searched.

        Raises BackendUnavailable when there is no model yet.
        """
        source, place = self._awake(), self._place(self.document.cursor)
        context = source.capabilities.context
        woven = self._woven
        if woven is None or woven.place != place or not woven.has_room(context):
            self._show(self._find(place) or self._begin(place, source))
        assert self._woven is not None
        return self._woven

    def land(self, run: ModelRun, *, onward: bool = False) -> Change:
        """Put the model's tokens into the story where the weave on show hangs, and stay with it.

        `onward`: they go on from the run before and are one step with it.
        """
        woven = self._current()
        weave = woven.weave
        self.stop()
        change = self.document.accept(run, self.at, onward=onward)
        weave = weave.at(run.ids, Anchor(weave.anchor.tokens + run.ids))
        prompt = taking.taken(woven.prompt, weave, run.ids)
        left = [rest for one in woven.samples if (rest := one.after(run.ids)) is not None]
        place = self._place(self.document.cursor)
        self._show(Woven(weave, place, prompt, samples=left))
        return change

    def put(self, run: ModelRun) -> Change:
        """Put a run at the cursor, of this model or of another one."""
        source = self._model()
        if run.fingerprint == source.vocabulary.fingerprint:
            self.here()
            return self.land(run)
        self.stop()
        change = self.document.accept(run, self.document.cursor)
        self._look()
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

    def force(self, start: int, id: int, logprob: float) -> Change:
        """Let another token stand after the story's first `start` bytes; what stood there stays as
        a branch."""
        source, at = self._model(), self.document.display_offset(start)
        token = source.vocabulary.token(id)
        if token.special or len(self.document.bytes_before(at)) != start:
            raise cannot_stand()
        self.stop()
        self.document.checkpoint()
        change = self.document.accept(taking.forced_run(source, token, logprob), at)
        self._look()
        return change

    def put_text(self, number: int, text: str) -> Change:
        """Let a person's text stand at a place of the story. What stood there stays as a branch."""
        place = self.reader.places[number]
        at = self.document.display_offset(place.start)
        self.stop()
        change = self.document.write(text, at)
        self._look()
        return change

    def readings_of(self, tail: Tail) -> list[Reading]:
        """The tokens of a path of the tree as the model sees them; costs nothing.

        Those that only write again what the story ends in are left out.
        """
        woven, names = self._current(), self._model().vocabulary
        sample = samples.find(woven.samples, tail)
        if sample is not None:
            return sample.readings(len(tail) - 1, names)
        return taking.readings_along(woven.weave, tail, names)

    def token_of(self, tail: Tail) -> Tail:
        """The least part of `tail` that adds text."""
        woven = self._current()
        sample = samples.find(woven.samples, tail)
        if sample is not None:
            return tail[: 1 + sample.first_token(len(tail) - 1)]
        return taking.first_token(woven.weave, tail)

    def word_of(self, tail: Tail) -> Tail:
        """The part of `tail` that holds its first word: up to where the next one begins."""
        woven = self._current()
        sample = samples.find(woven.samples, tail)
        if sample is not None:
            return tail[: 1 + sample.first_word(len(tail) - 1)]
        return taking.first_word(woven.weave, tail)

    def ghost(self, tail: Tail) -> str:
        """What accepting `tail` would add, as it would be shown."""
        woven = self._current()
        sample = samples.find(woven.samples, tail)
        data = sample.part(len(tail) - 1) if sample else woven.weave.beam(tail).data
        return display_text(data)

    # --- inner workings

    def _leave_model(self) -> None:
        self.stop()
        self.player.forget()
        self.autopilot.stop()
        self.continuations.stop()
        self.source = self.incoming = None
        self._models += 1
        self.reader.forget()
        self._kept.forget_vocabulary()
        self.stale = self._woven is not None

    def _model(self) -> Source:
        if self.source is None:
            raise no_model(self.status)
        return self.source

    def _awake(self) -> Source:
        if self.resting:
            raise UsageError("The model rests", "You let it rest.", "Wake it with the same key.")
        return self._model()

    def _current(self) -> Woven:
        if self._woven is None:
            raise UsageError("There are no suggestions", "", "Weave first.")
        if self.stale:
            raise not_current(foreign=self.foreign)
        return self._woven

    def _place(self, cursor: int) -> Place:
        before = self.document.bytes_before(cursor)
        return before, root_text(self.document), self._models, self._constraint

    def _find(self, place: Place) -> Woven | None:
        """An earlier weave of this very text, under the present rules."""
        if self.source is None:
            return None
        return self._kept.find(place, self.document.rules, self.sampling.bans, self.source)

    def _begin(self, place: Place, source: Source, kept: Kept | None = None) -> Woven:
        bans = self.sampling.bans
        return self._kept.begin(place, self.document, source, self._compiled, bans, kept)

    def _restore(self, source: Source) -> None:
        """Show the weave kept in the loom, where the story still stands as it did."""
        kept = unpack(self.document.load_weave() or b"")
        if kept is None or not kept.of(source):
            return
        try:
            woven = self._begin(self._place(self.document.cursor), source, kept)
        except LltermError as error:  # The next weave says it to the person.
            log.warning("%s", error)
            return
        if (woven.prompt.tokens, woven.prompt.residue) == (kept.tokens, kept.residue):
            woven.cost, woven.seconds = kept.cost, kept.seconds
            self._show(woven)

    def _keep(self) -> None:
        """Put the weave on show into the loom."""
        woven, source = self._woven, self.source
        unbound = woven is not None and woven.weave.constraint is None
        if woven is not None and unbound and source is not None and not self.stale:
            self.document.save_weave(pack(woven.weave, source, woven.cost, woven.seconds))

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
        before, bans = self.document.rules, self.sampling.bans
        change = step()
        self._look()
        self._follow_rules(before, bans)
        return change

    def _follow_rules(self, before: Rules, bans_before: Bans) -> None:
        """Derive the tree again under the document's rules and bans; go on if it was searching."""
        rules, bans, woven = self.document.rules, self.sampling.bans, self._woven
        if woven is None or (rules, bans) == (before, bans_before):
            return
        running = self.weaving
        self.stop()
        if rules.heal != before.heal:
            self._look()
            self.stale = True
            return
        woven.weave = woven.weave.under(rules_for(rules, self.source), bans)
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
            await self._settle(woven)
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

    async def _settle(self, woven: Woven) -> None:
        """Begin again with the tokens that a server gives the story: `_begin` could only guess."""
        source = self._model()
        fresh = await told_more(source) and not woven.weave.facts
        if fresh and woven.place == self._place(self.document.cursor):
            told = self._begin(woven.place, source)
            woven.weave, woven.prompt = told.weave, told.prompt
            self._changed()

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
