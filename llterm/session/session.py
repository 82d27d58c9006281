"""One open loom and the weave at its cursor. Everything here runs on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from llterm.backends.remote.server_usage import server_of
from llterm.backends.remote.transport import of_server
from llterm.constraints.spec import Constraint
from llterm.core.bans import Bans
from llterm.core.chat_messages import Chat, ChatsTold, chat_text
from llterm.core.query import Source
from llterm.core.sampling.sampler_settings import Sampling
from llterm.core.server_news import Absence
from llterm.core.weave_settings import WeaveSettings
from llterm.engine.prompt_heads import opened_chat
from llterm.errors import LltermError
from llterm.session.autopilot import Autopilot
from llterm.session.cursor import Cursor
from llterm.session.document import Document
from llterm.session.manuscript import Change, ModelRun
from llterm.session.placed_weave import PlacedWeave
from llterm.session.player import Player
from llterm.session.reader import Reader
from llterm.session.sample_set import SampleSet
from llterm.session.sampler_choice import SamplerChoice
from llterm.session.status import Incoming, Status
from llterm.session.suggestions import root_chat


class Session(Cursor):
    """A document's cursor with all that may write and read there; what a face talks to.

    To weave, to grow a branch and to accept one are the cursor's own.
    """

    def __init__(self, document: Document, drawing: SamplerChoice | None = None) -> None:
        super().__init__(document, drawing or SamplerChoice(document))
        self.incoming: Incoming | None = None
        self._end_news: Callable[[], None] = lambda: None
        self._returned = 0
        """Of `returns`, those that were heard of."""
        self.reader = Reader(self)
        self.player = Player(self)
        self.autopilot = Autopilot(self)
        self.samples = SampleSet(self)
        self._closings: set[asyncio.Task[None]] = set()

    # --- the model

    def attach(self, source: Source) -> None:
        """A model is ready. Suggestions kept in the loom come back if they are still its own;
        those of the model before stay in sight, stale.
        """
        self._leave_model()
        self.source = source
        self._hear_news()
        if isinstance(source, ChatsTold):
            source.hear_chats(self.changed)
        self.suggestions.restore(source)
        self.recall()
        self.say(Status("ready"))

    async def change_model(self, source: Source) -> None:
        """As `attach`, with the chat opened by the model before it."""
        if server_of(source) is None:
            # The chat is opened by the model's own template, which may take a second at most, so
            # that what was kept of a weave finds its place. A server is not waited for.
            with suppress(LltermError):  # The next weave says it to the person.
                await opened_chat(source, root_chat(self.document))
        self.attach(source)

    def detach(self) -> None:
        """Do without a model; its suggestions stay in sight, stale. Its owner closes it."""
        self._leave_model()
        self.say(Status("no model"))

    def set_resting(self, resting: bool) -> None:
        """Nothing is evaluated while the model rests; what it said stays."""
        if resting:
            self.autopilot.stop()
            self.player.pause()
            self.samples.stop()
            self.stop()
        self.resting = resting
        self.changed()

    def loading(self, progress: float, name: str = "") -> None:
        """A model is being loaded; the one in use stays so until it is attached."""
        before = self.incoming
        absences = before.absences if before is not None and before.name == name else ()
        self.incoming = Incoming(name, progress, absences)
        self.say(self.status if self.source else Status("loading", progress=progress))

    def loading_waits(self, absences: Sequence[Absence]) -> None:
        """What is known now of the servers of the model that is being loaded."""
        if self.incoming is not None:
            self.incoming = replace(self.incoming, absences=tuple(absences))
            self.changed()

    @property
    def unopened(self) -> bool:
        """Whether there is no model because it could not be opened."""
        return self.source is None and self.incoming is None and self.status.state == "failed"

    def failed(self, error: LltermError) -> None:
        """It could not be loaded: the one in use, if there is one, stays."""
        self.incoming = None
        self.say(self.status if self.source else Status("failed", error=error))

    async def close(self) -> None:
        """End all that goes on and close the document; the source is its owner's to close."""
        self.reader.stop()
        self.player.pause()
        self.autopilot.stop()
        self.samples.stop()
        self.stop()
        self._end_news()
        await self._search.close()
        await self._reading.close()
        await self._recalling.close()
        self.suggestions.keep(self.source)
        self.document.close()
        if self._closings:
            await asyncio.wait(self._closings)

    def let_go(self, closing: Coroutine[Any, Any, None]) -> None:
        """Close what a dialog had: who closes it is free at once, and `close` waits for it."""
        task = asyncio.get_running_loop().create_task(closing)
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)

    # --- the weave

    @property
    def busy(self) -> bool:
        """Whether something is written or searched here that a stop ends."""
        writing = self.player.playing or self.samples.running or self.autopilot.running
        return self.weaving or writing

    def put_away(self) -> None:
        """Show no suggestions; the next weave here brings them back, with no inference."""
        self.samples.stop()
        self.stop()
        self.suggestions.put_away()
        self.changed()

    def set_rules(self, rules: WeaveSettings) -> None:
        """Other weave settings, at once: the tree is derived again, with no inference."""
        before = self.document.rules
        if rules == before:
            return
        self.document.set_rules(rules)
        self._follow_rules(before, self.sampling.bans)

    def set_sampling(self, sampling: Sampling) -> None:
        """Another way to draw: a step of the history. Bans hold for suggestions too, at once."""
        bans = self.sampling.bans
        self._drawing.set(sampling)
        self._follow_rules(self.document.rules, bans)
        self.changed()

    def show_banned(self, shown: bool) -> None:
        """Whether the view has what bans and the constraint take, as rows that say so."""
        self.banned_shown = shown
        self.changed()

    async def set_constraint(self, constraint: Constraint | None) -> None:
        """Suggestions of later weaves must fit this, from the cursor on; compiled once.

        Raises UsageError for one that cannot be, and keeps the former then; CapabilityMissing
        where the model cannot be held to any.
        """
        await self.suggestions.fit(constraint, self.model if constraint is not None else None)
        self._look()

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

    def follow(self) -> Change | None:
        """Show what another llterm wrote to the loom since; None where that is nothing. Raises
        LltermError."""
        return self._step(self.document.follow)

    def take_over(self) -> Change:
        """Write the loom here from now on. Raises UsageError where another llterm does still."""
        return self.reshape(self.document.take)

    def reshape(self, step: Callable[[], Change]) -> Change:
        """Do a command on the loom's tree (`Document.branches`, `choose`), and look again."""
        change = self._step(step)
        assert change is not None
        return change

    def end_here(self) -> Change:
        """End the story at the cursor; text after it stays as a branch."""
        self.stop()
        return self.reshape(lambda: self.document.end_at(self.document.cursor))

    def set_prefix(self, text: str) -> None:
        """The hidden text before the story."""
        self.document.set_prefix(text)
        self._look()

    def set_chat(self, chat: Chat) -> None:
        """What the story is a reply to; an empty one makes it a story again."""
        self.document.set_chat(chat_text(chat))
        self._look()

    def put(self, run: ModelRun) -> Change:
        """Put a run at the cursor, of this model or of another one."""
        source = self.model
        own = run.fingerprint == source.vocabulary.fingerprint
        if own and isinstance(self.here(), PlacedWeave):
            return self.land(run)
        self.stop()
        change = self.document.accept(run, self.document.cursor)
        self._look()
        return change

    # --- inner workings

    def _hear_news(self) -> None:
        """Of this model's servers, and of those of the model before no longer."""
        self._end_news()
        self._end_news = self.news.listen(self._news_heard) if self.news else lambda: None
        self._returned = self.returns

    def _news_heard(self) -> None:
        """A server went away, or was given up, or answers again: then a weave that failed by it
        may be woven, and nothing is wrong any more."""
        back, self._returned = self.returns > self._returned, self.returns
        if back and of_server(self.status.error):
            self.status = Status("ready")
        self.changed()

    def _leave_model(self) -> None:
        self.stop()
        self._recalling.stop()
        self.player.forget()
        self.autopilot.stop()
        self.samples.stop()
        self.source = self.incoming = None
        self._hear_news()
        self.reader.forget()
        self.suggestions.leave_model()

    def _look(self) -> None:
        """The text or the cursor changed: are the suggestions still those of this place?"""
        # What is still searched stays on show: it may be of this place again in a moment.
        self.suggestions.look(None if self.weaving else self.source)
        self.recall()
        self.changed()

    def _step(self, step: Callable[[], Change | None]) -> Change | None:
        before, bans = self.document.rules, self.sampling.bans
        change = step()
        if change is None:
            return None
        self._look()
        self._follow_rules(before, bans)
        return change

    def _follow_rules(self, before: WeaveSettings, bans_before: Bans) -> None:
        """Derive the tree again under the document's rules and bans; go on if it was searching."""
        rules, placed = self.document.rules, self.shown
        if placed is None or (rules, self.sampling.bans) == (before, bans_before):
            return
        running, canonical = self.weaving, bool(placed.weave.canonical)
        self.stop()
        if rules.heal != before.heal:
            self._look()
            self.suggestions.stale = True
            return
        self.suggestions.derive(self.source)
        self.changed()
        if running:
            self.search(placed, self.model)
        elif canonical and placed.weave.done and not self.resting and not self.suggestions.stale:
            # What comes up for what went has the search's figures yet.
            self.read_again(placed)
