"""One open loom and the weave at its cursor. Everything here runs on the event loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from llterm.constraints.spec import Constraint
from llterm.core.bans import Bans
from llterm.core.beams import Step
from llterm.core.chat_messages import Chat, chat_text
from llterm.core.display import display_text, whole_after
from llterm.core.query import Backend, Source
from llterm.core.rules import Rules
from llterm.core.sampling.sampler_chain import Chain
from llterm.core.sampling.sampler_settings import SamplerSettings, Sampling
from llterm.core.scored_text import Reading
from llterm.core.suggestion_tree import View
from llterm.core.tokens import Tail
from llterm.errors import LltermError, UsageError
from llterm.session.autopilot import Autopilot
from llterm.session.chatting import open_first
from llterm.session.continuations import Continuations
from llterm.session.document import Change, Document, ModelRun
from llterm.session.player import Player
from llterm.session.reader import Reader
from llterm.session.refusals import no_model
from llterm.session.sampling import SamplerChoice
from llterm.session.searching import Searching
from llterm.session.sources import check_constraints, listen_to
from llterm.session.status import Figures, Incoming, Status
from llterm.session.suggestions import Suggestions
from llterm.session.weaves import rules_for
from llterm.session.woven import Woven


class Session:
    """The document, its model, and the suggestions after the cursor."""

    def __init__(self, document: Document, drawing: SamplerChoice | None = None) -> None:
        self.document = document
        self._drawing = drawing or SamplerChoice(document)
        self.source: Source | None = None
        self.status = Status()
        self.incoming: Incoming | None = None
        self._suggestions = Suggestions(document, self._drawing)
        self._search = Searching(self._suggestions.settle, self._changed, self._ended)
        self._view: View | None = None
        self.banned_shown = False
        self._callbacks: list[Callable[[], None]] = []
        self.reader = Reader(self, self._changed)
        self.resting = False
        self.player = Player(self, self._changed)
        self.autopilot = Autopilot(self, self._changed)
        self.continuations = Continuations(self, self._changed)

    # --- what there is to see

    @property
    def weaving(self) -> bool:
        return self._search.running

    @property
    def shown(self) -> Woven | None:
        """Whose view this is: rows read while this was another object mean nothing any more."""
        return self._suggestions.woven

    @property
    def at(self) -> int:
        """Display offset where the suggestions on show hang."""
        return self._suggestions.at

    @property
    def stale(self) -> bool:
        """Whether they are of another place of the story, or of a model before this one."""
        return self._suggestions.stale

    @property
    def foreign(self) -> bool:
        """Whether the suggestions on show are those of a model before this one."""
        return self._suggestions.foreign

    @property
    def view(self) -> View | None:
        """The suggestion tree; None when nothing was woven."""
        if self._view is None and self.shown is not None:
            self._view = self.shown.view(running=self.weaving, banned=self.banned_shown)
        return self._view

    @property
    def figures(self) -> Figures:
        """Figures of the weave on show; unlike `view`, they cost next to nothing."""
        woven = self.shown
        context = self.source.capabilities.context if self.source else 0
        if woven is None or self.foreign:
            return Figures(context=context)
        start = woven.prompt.sight.start
        if start and self.stale and not self._begins_as(woven.place[0][:start]):
            start = 0
        mark = self.document.display_offset(start) if start else 0
        seconds = woven.seconds + self._search.seconds
        return woven.figures(context, seconds, mark, stale=self.stale)

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever view, status or figures changed; returns how to end that."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    @property
    def model(self) -> Source:
        """The source. Raises BackendUnavailable when there is none yet."""
        if self.source is None:
            raise no_model(self.status)
        return self.source

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
        self._suggestions.restore(source)
        self._say(Status("ready"))

    async def change_model(self, source: Source) -> None:
        """As `attach`, and what suggestions must fit stays in force."""
        await self._suggestions.fit(self.constraint, source)
        await open_first(self.document, source)
        self.attach(source)

    def detach(self) -> None:
        """Do without a model; its suggestions stay in sight, stale. Its owner closes it."""
        self._leave_model()
        self._say(Status("no model"))

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
        if self.weaving and self._suggestions.here:
            return
        self.stop()
        self._run(self._open(source), source)

    def stop(self) -> None:
        """End the search; what it found stays. The caller is free at once."""
        self._search.stop()

    def put_away(self) -> None:
        """Show no suggestions; the next weave here brings them back, with no inference."""
        self.continuations.stop()
        self.stop()
        self._suggestions.put_away()
        self._changed()

    def grow(self, tail: Tail) -> None:
        """Go on from this branch, `Rules.depth` tokens further."""
        woven, source = self._suggestions.current, self._awake()
        woven.weave.grow(tail, rules_for(self.document.rules, source).depth)
        self._changed()
        if not self.weaving:
            self._run(woven, source)

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
        return self._drawing.chain(self.model.vocabulary)

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
        return self._suggestions.constraint

    async def set_constraint(self, constraint: Constraint | None) -> None:
        """Suggestions of later weaves must fit this, from the cursor on; compiled once.

        Raises UsageError for one that cannot be, and keeps the former then.
        """
        if constraint is not None:
            check_constraints(self.model)
        await self._suggestions.fit(constraint, self.source)
        self._look()

    @property
    def dead_ends(self) -> int:
        """Paths of the weave on show after which the constraint allows nothing."""
        return self.shown.weave.dead_ends if self.shown is not None else 0

    async def wait(self) -> None:
        """Until nothing is being woven. Raises what the weave failed with."""
        await self._search.wait()
        if self.status.state == "failed" and self.status.error is not None:
            raise self.status.error

    async def close(self) -> None:
        """End the search and close the document; the source is its owner's to close."""
        self.reader.stop()
        self.player.pause()
        self.autopilot.stop()
        self.continuations.stop()
        await self._search.close()
        self._suggestions.keep(self.source)
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
        run = self._suggestions.current.run(tail, self.model)
        if not run.data:
            return Change(self.at, self.at, "", self.at)
        return self.land(run)

    def path(self, tail: Tail) -> tuple[Woven, Tail]:
        """The weave on show, and the tokens after its anchor that a row of its tree stands for."""
        woven = self._suggestions.current
        return woven, woven.ids(tail)

    def here(self) -> Woven:
        """The weave at the cursor, begun if there is none; nothing is searched.

        Raises BackendUnavailable when there is no model yet.
        """
        source = self._awake()
        return self._suggestions.ready(source) or self._open(source)

    async def settle(self, woven: Woven) -> None:
        """Give a weave the tokens of the story that a server could only be asked for."""
        if await self._suggestions.settle(woven, self._awake()):
            self._changed()

    def land(self, run: ModelRun, *, onward: bool = False) -> Change:
        """Put the model's tokens into the story where the weave on show hangs, and stay with it.

        `onward`: they go on from the run before and are one step with it.
        """
        woven = self._suggestions.current
        self.stop()
        change = self._suggestions.take(woven, run, onward=onward)
        self._stirred()
        return change

    def put(self, run: ModelRun) -> Change:
        """Put a run at the cursor, of this model or of another one."""
        source = self.model
        if run.fingerprint == source.vocabulary.fingerprint:
            self.here()
            return self.land(run)
        self.stop()
        change = self.document.accept(run, self.document.cursor)
        self._look()
        return change

    def readings_of(self, tail: Tail) -> list[Reading]:
        """The tokens of a path of the tree as the model sees them; costs nothing.

        Those that only write again what the story ends in are left out.
        """
        return self._suggestions.current.readings(tail, self.model.vocabulary)

    def adding(self, tail: Tail) -> Sequence[Step]:
        """The tokens of a path of the tree that add text to the story."""
        return self._suggestions.current.adding(tail)

    def token_of(self, tail: Tail) -> Tail:
        """The least part of `tail` that adds text."""
        return self._suggestions.current.first_token(tail)

    def word_of(self, tail: Tail) -> Tail:
        """The part of `tail` that holds its first word: up to where the next one begins."""
        return self._suggestions.current.first_word(tail)

    def ghost(self, tail: Tail) -> str:
        """What accepting `tail` would add, as it would be shown."""
        return display_text(self.added(tail))

    def added(self, tail: Tail) -> bytes:
        """What accepting `tail` would add, with the whole of a character that it ends."""
        adds = self._suggestions.current.adds(tail)
        return whole_after(self.document.bytes_before(self.at), adds)

    # --- inner workings

    def _begins_as(self, before: bytes) -> bool:
        """Whether the story begins so and goes on."""
        story = self.document.bytes_before(len(self.document.text))
        return len(story) > len(before) and story.startswith(before)

    def _leave_model(self) -> None:
        self.stop()
        self.player.forget()
        self.autopilot.stop()
        self.continuations.stop()
        self.source = self.incoming = None
        self.reader.forget()
        self._suggestions.leave_model()

    def _awake(self) -> Source:
        if self.resting:
            raise UsageError("The model rests", "You let it rest.", "Wake it with the same key.")
        return self.model

    def _open(self, source: Source) -> Woven:
        woven = self._suggestions.open(source)
        self._stirred()
        return woven

    def _look(self) -> None:
        """The text or the cursor changed: are the suggestions still those of this place?"""
        self.reader.stir()
        # What is still searched stays on show: it may be of this place again in a moment.
        self._suggestions.look(None if self.weaving else self.source)
        if self.shown is not None:
            self._changed()

    def _step(self, step: Callable[[], Change | None]) -> Change | None:
        before, bans = self.document.rules, self.sampling.bans
        change = step()
        self._look()
        self._follow_rules(before, bans)
        return change

    def _follow_rules(self, before: Rules, bans_before: Bans) -> None:
        """Derive the tree again under the document's rules and bans; go on if it was searching."""
        rules, woven = self.document.rules, self.shown
        if woven is None or (rules, self.sampling.bans) == (before, bans_before):
            return
        running = self.weaving
        self.stop()
        if rules.heal != before.heal:
            self._look()
            self._suggestions.stale = True
            return
        self._suggestions.derive(self.source)
        self._changed()
        if running:
            self._run(woven, self.model)

    def _run(self, woven: Woven, source: Source) -> None:
        self._search.start(woven, source)
        self.status = Status("weaving")
        self._changed()

    def _ended(self, status: Status) -> None:
        """The search is over."""
        self._suggestions.keep(self.source)
        self._say(status)

    def _say(self, status: Status) -> None:
        self.status = status
        self._stirred()

    def _stirred(self) -> None:
        self.reader.stir()
        self._changed()

    def _changed(self) -> None:
        self._view = None
        for callback in tuple(self._callbacks):
            callback()
