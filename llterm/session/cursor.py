"""Where a document is written on: its model, the suggestions there, and the search for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import cast

from llterm.constraints.spec import Constraint
from llterm.core.beams import Step
from llterm.core.display_text import display_text, whole_after
from llterm.core.query import Backend, OnServers, Source
from llterm.core.sampling.sampler_chain import Chain
from llterm.core.sampling.sampler_settings import SamplerSettings, Sampling
from llterm.core.scored_text import TokenReading
from llterm.core.server_news import ServerNews
from llterm.core.suggestion_tree import View
from llterm.core.tokens import Tail
from llterm.engine.canonical_pass import CanonicalPass
from llterm.engine.weave import drive, rules_for, to_drive
from llterm.errors import LltermError, UsageError
from llterm.session.background_task import BackgroundTask, Reason
from llterm.session.document import Document
from llterm.session.manuscript import Change, ModelRun
from llterm.session.placed_weave import PlacedWeave
from llterm.session.sampler_choice import SamplerChoice
from llterm.session.status import Figures, Status
from llterm.session.suggestions import Suggestions, WeaveBeginning


class Cursor:
    """A document's cursor, with the model in use and the suggestions that hang there.

    Player, autopilot, continuations and readers work on it; whoever shows it listens.
    """

    def __init__(self, document: Document, drawing: SamplerChoice) -> None:
        self.document = document
        self.source: Source | None = None
        self.suggestions = Suggestions(document, drawing)
        self.status = Status()
        self.resting = False
        self.banned_shown = False
        """Whether the view has what bans and the constraint take, as rows that say so."""
        self._drawing = drawing
        self._search = BackgroundTask("The weave failed", self._searched_through)
        self._reading = BackgroundTask("Canonical figures could not be read", self._read)
        self._recalling = BackgroundTask("Kept samples could not be brought back")
        self._searched: PlacedWeave | None = None
        self._last: PlacedWeave | None = None
        """What was searched last: going on there is one search with what was asked before."""
        self._started = 0.0
        self._view: View | None = None
        self._callbacks: list[Callable[[], None]] = []

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever story, view, status or figures changed; returns how to end that."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def changed(self) -> None:
        """Something of what there is to see changed: let all know who listen."""
        self._view = None
        for callback in tuple(self._callbacks):
            callback()

    # --- the model

    @property
    def model(self) -> Source:
        """The source. Raises BackendUnavailable when there is none yet."""
        if self.source is None:
            raise self.status.no_model
        return self.source

    @property
    def backend(self) -> Backend | None:
        """The source, where it is one that can read a text, and does not rest."""
        source = None if self.resting else self.source
        return cast(Backend, source) if source is not None and hasattr(source, "score") else None

    @property
    def news(self) -> ServerNews | None:
        """How the model's server is doing, or those of a mix; None where none is on a server."""
        return self.source.news if isinstance(self.source, OnServers) else None

    @property
    def returns(self) -> int:
        """How often a server of the model's has answered again."""
        return self.news.returns if self.news is not None else 0

    def awake(self) -> Source:
        """The source. Raises LltermError when there is none yet, or it rests."""
        if self.resting:
            raise UsageError("The model rests", "You let it rest.", "Wake it with the same key.")
        return self.model

    @property
    def sampling(self) -> Sampling:
        """How tokens are drawn, and what is never written."""
        return self._drawing.sampling

    @property
    def presets(self) -> dict[str, SamplerSettings]:
        """Sampler presets by name, llterm's and the person's own."""
        return self._drawing.presets

    async def chain(self) -> Chain:
        """The sampling made ready for the model, the same object until either changes.

        Raises LltermError where there is none, or it does not tell the tokens of a text in it.
        """
        return await self._drawing.chain(self.model.vocabulary)

    # --- the suggestions on show

    @property
    def shown(self) -> PlacedWeave | None:
        """Whose view this is: rows read while this was another object mean nothing any more."""
        return self.suggestions.shown

    @property
    def at(self) -> int:
        """Display offset where the suggestions on show hang."""
        return self.suggestions.at

    @property
    def stale(self) -> bool:
        """Whether they are of another place of the story, or of a model before this one."""
        return self.suggestions.stale

    @property
    def constraint(self) -> Constraint | None:
        """What suggestions must fit; None: anything."""
        return self.suggestions.constraint

    @property
    def view(self) -> View | None:
        """The suggestion tree; None when nothing was woven."""
        if self._view is None and self.shown is not None:
            self._view = self.shown.view(running=self.weaving, banned=self.banned_shown)
        return self._view

    @property
    def figures(self) -> Figures:
        """Figures of the weave on show; unlike `view`, they cost next to nothing."""
        placed = self.shown
        context = self.source.capabilities.context if self.source else 0
        if placed is None or self.suggestions.foreign:
            return Figures(context=context)
        start = placed.prompt.sight.start
        if start and self.stale and not self._begins_as(placed.place[0][:start]):
            start = 0
        mark = self.document.display_offset(start) if start else 0
        seconds = placed.seconds + (time.monotonic() - self._started if self.weaving else 0.0)
        return placed.figures(context, seconds, mark, stale=self.stale)

    def path(self, tail: Tail) -> tuple[PlacedWeave, Tail]:
        """The weave on show, and the tokens after its anchor that a row of its tree stands for."""
        placed = self.suggestions.current
        return placed, placed.ids(tail)

    def readings_of(self, tail: Tail) -> list[TokenReading]:
        """The tokens of a path of the tree as the model sees them; costs nothing.

        Those that only write again what the story ends in are left out.
        """
        return self.suggestions.current.path(tail).readings(self.model.vocabulary)

    def adding(self, tail: Tail) -> Sequence[Step]:
        """The tokens of a path of the tree that add text to the story."""
        return self.suggestions.current.path(tail).adding

    def token_of(self, tail: Tail) -> Tail:
        """The least part of `tail` that adds text."""
        placed = self.suggestions.current
        return placed.part(tail, placed.path(tail).first_token)

    def word_of(self, tail: Tail) -> Tail:
        """The part of `tail` that holds its first word: up to where the next one begins."""
        placed = self.suggestions.current
        return placed.part(tail, placed.path(tail).first_word)

    def ghost(self, tail: Tail) -> str:
        """What accepting `tail` would add, as it would be shown."""
        return display_text(self.added(tail))

    def added(self, tail: Tail) -> bytes:
        """What accepting `tail` would add, with the whole of a character that it ends."""
        data = self.suggestions.current.path(tail).data
        return whole_after(self.document.bytes_before(self.at), data)

    # --- the search

    @property
    def weaving(self) -> bool:
        return self._search.running

    def weave(self) -> None:
        """Weave here; goes on where an earlier weave of the same text stands.

        Returns at once. Does nothing while that weave is running. Raises BackendUnavailable when
        there is no model yet.
        """
        source = self.awake()
        self.document.checkpoint()
        if self.weaving and (self.suggestions.here or self.suggestions.asked_here):
            return
        self.stop()
        self.search(self._open(source), source)

    def grow(self, tail: Tail) -> None:
        """Go on from this branch, `WeaveSettings.depth` tokens further."""
        placed, source = self.suggestions.current, self.awake()
        placed.weave.grow(tail, rules_for(self.document.rules, source).depth)
        # What there is at the branch is gone on from, whatever it was asked together with.
        self._last = placed
        self.changed()
        if not self.weaving:
            self.search(placed, source)

    def search(self, begun: PlacedWeave | WeaveBeginning, source: Source) -> None:
        """Drive a weave, or what one is to begin with, until it is done, fails or is stopped.
        Returns at once."""
        self._reading.stop()
        self._searched = begun if isinstance(begun, PlacedWeave) else None
        self._started = time.monotonic()
        self._search.start(lambda: self._drive(begun, source))
        self.say(Status("weaving"))

    def read_again(self, placed: PlacedWeave) -> None:
        """Have what counts of a weave that is searched no more read for its canonical figures, in
        the background. Returns at once."""
        if (source := self.source) is not None:
            self._reading.start(lambda: self._read_again(placed, source))

    def stop(self) -> None:
        """End the search, and the reading after it; what was found stays. The caller is free at
        once."""
        self._reading.stop()
        placed = self._searched
        if self._search.stop():
            if placed is not None:
                # The cancelled task would let go of its questions only later.
                placed.weave.let_go()
            self._ended("")

    async def wait(self) -> None:
        """Until nothing is being woven, and figures are canonical. Raises what the weave failed
        with."""
        await self._search.wait()
        await self._reading.wait()
        if self.status.state == "failed" and self.status.error is not None:
            raise self.status.error

    def say(self, status: Status) -> None:
        """Another state of model and weave."""
        self.status = status
        self.changed()

    # --- writing

    def here(self) -> PlacedWeave | WeaveBeginning:
        """The weave at the cursor, begun if there is none; nothing is searched. Where the story's
        tokens have to be asked for (`told`), what it is to begin with.

        Raises BackendUnavailable when there is no model yet.
        """
        source = self.awake()
        return self.suggestions.ready(source) or self._open(source)

    async def told(self, begun: PlacedWeave | WeaveBeginning) -> PlacedWeave:
        """The weave; asks for its tokens. Raises LltermError where they cannot be told."""
        if isinstance(begun, WeaveBeginning):
            begun = await self.suggestions.told(begun)
            self.changed()
        return begun

    def accept(self, tail: Tail, *, carry: bool = True) -> Change:
        """Take a path of the tree, or the first tokens of one, into the story.

        What hangs below it becomes the new tree, with no inference. Text that follows stays after
        it; without `carry` it is left behind as a branch.
        """
        run = self.suggestions.current.path(tail).run(self.model)
        if not run.data:
            return self.document.nothing() if carry else self.document.end_at(self.at)
        return self.land(run, carry=carry)

    def land(self, run: ModelRun, *, carry: bool = True, onward: bool = False) -> Change:
        """Put the model's tokens into the story where the weave on show hangs, and stay with it.

        `carry`: see `accept`. `onward`: they go on from the run before and are one step with it.
        """
        placed = self.suggestions.current
        self.stop()
        before = self.document.bytes_before(self.at)
        change = self.document.accept(run, self.at, carry=carry, onward=onward)
        # A character that is begun here and ended by the text that follows has no place inside.
        if self.document.bytes_before(self.document.cursor) == before + run.data:
            self.suggestions.follow(placed, run.ids)
        else:
            self.suggestions.look(self.source)
        self.changed()
        return change

    # --- inner workings

    def _begins_as(self, before: bytes) -> bool:
        """Whether the story begins so and goes on."""
        story = self.document.bytes_before(len(self.document.text))
        return len(story) > len(before) and story.startswith(before)

    def recall(self) -> None:
        """Bring back samples that are kept of this place, where a server has to be asked for the
        story's tokens first. Returns at once; what fails is said by the next weave."""
        beginning, self.suggestions.kept = self.suggestions.kept, None
        if beginning is not None:
            self._recalling.start(lambda: self._recall(beginning))

    async def _recall(self, beginning: WeaveBeginning) -> Reason:
        await self.suggestions.recall(beginning)
        self.changed()
        return ""

    def _open(self, source: Source) -> PlacedWeave | WeaveBeginning:
        placed = self.suggestions.open(source)
        self.changed()
        return placed

    async def _drive(self, begun: PlacedWeave | WeaveBeginning, source: Source) -> Reason:
        placed = self._searched = await self.told(begun)
        if placed is not self._last:
            placed.weave = to_drive(placed.weave, source)
        self._last = placed
        async for cost in drive(placed.weave, source):
            placed.cost += cost
            self.changed()
        return ""

    def _searched_through(self, reason: Reason) -> None:
        """The search has ended by itself: what counts is read once more, in the background."""
        placed = self._searched
        self._ended(reason)
        if placed is not None and not reason:
            self.read_again(placed)

    async def _read_again(self, placed: PlacedWeave, source: Source) -> Reason:
        woven = placed.weave
        canonical = CanonicalPass(woven, source)
        async for cost in canonical.run():
            placed.cost += cost
        if placed.weave is woven and canonical.weave is not woven:
            placed.weave = canonical.weave
            self.changed()
            self.suggestions.keep(source)
        return ""

    def _read(self, reason: Reason) -> None:
        if isinstance(reason, LltermError):
            self.say(Status("failed", error=reason))

    def _ended(self, reason: Reason) -> None:
        """The search is over."""
        placed, self._searched = self._searched, None
        if placed is not None:
            placed.seconds += time.monotonic() - self._started
        self.suggestions.keep(self.source)
        failure = reason if isinstance(reason, LltermError) else None
        self.say(Status("failed" if failure else "ready", error=failure))
