"""The suggestions after the cursor: the weave on show, and whether it is of this place."""

from __future__ import annotations

import asyncio
import logging

from llterm.constraints.compiled import Compiled, compile
from llterm.constraints.spec import Constraint
from llterm.core.query import Source
from llterm.engine.weave import rules_for, told_more
from llterm.errors import LltermError, UsageError
from llterm.session.changes import Change, ModelRun
from llterm.session.chatting import root_text
from llterm.session.document import Document
from llterm.session.lines import pack_lines
from llterm.session.refusals import not_current
from llterm.session.sampling import SamplerChoice
from llterm.session.weaves import Weaves
from llterm.session.woven import Place, Woven
from llterm.store.saved_weave import SavedWeave, pack, unpack

log = logging.getLogger(__name__)


class Suggestions:
    """The weave on show, and those to come back to. Nothing is searched here."""

    def __init__(self, document: Document, drawing: SamplerChoice) -> None:
        self._document = document
        self._drawing = drawing
        self._weaves = Weaves()
        self._models = 0
        """How many models there have been: a weave belongs to the one of its number."""
        self._compiled: Compiled | None = None
        self.constraint: Constraint | None = None
        """What they must fit; None: anything."""
        self.woven: Woven | None = None
        """The weave on show; None when nothing was woven."""
        self.at = document.cursor
        """Display offset where the weave on show hangs."""
        self.stale = False
        """Whether they are of another place of the story, or of a model before this one."""
        self._away = False

    @property
    def foreign(self) -> bool:
        """Whether the suggestions on show are those of a model before this one."""
        return self.woven is not None and self.woven.place[2] != self._models

    @property
    def here(self) -> bool:
        """Whether the weave on show is the one of this very place."""
        return self.woven is not None and self.woven.place == self._place()

    @property
    def current(self) -> Woven:
        """The weave on show, where it may be taken from. Raises UsageError where it may not."""
        if self.woven is None:
            raise UsageError("There are no suggestions", "", "Weave first.")
        if self.stale:
            raise not_current(foreign=self.foreign)
        return self.woven

    def ready(self, source: Source) -> Woven | None:
        """The weave on show, if it is of this place and the model has room to go on with it."""
        woven = self.woven if self.here else None
        return woven if woven and woven.has_room(source.capabilities.context) else None

    def open(self, source: Source) -> Woven:
        """Show the weave of this place: an earlier one of the same text, or one to begin."""
        place = self._place()
        woven = self._find(place, source) or self._begin(place, source)
        self._show(woven)
        return woven

    def look(self, source: Source | None) -> None:
        """The text or the cursor changed: are they still those of this place?

        With a source an earlier weave of this very text comes back, and lines that were drawn here,
        unless the person put the suggestions away.
        """
        place = self._place()
        elsewhere = self.woven is None or self.woven.place != place
        if elsewhere and source is not None and not self._away:
            self.woven = self._find(place, source) or self._drawn(place, source) or self.woven
        if self.woven is None:
            return
        self.stale = self.woven.place != place
        if not self.stale:
            self.at = self._document.cursor

    def put_away(self) -> None:
        """Show none, until the person asks for them."""
        self.woven, self._away = None, True

    def derive(self, source: Source | None) -> None:
        """The tree anew under the document's rules and bans, with no inference."""
        if self.woven is not None:
            rules = self._document.rules
            rules = rules_for(rules, source) if source is not None else rules
            self.woven.weave = self.woven.weave.under(rules, self._drawing.sampling.bans)

    def take(self, woven: Woven, run: ModelRun, *, onward: bool) -> Change:
        """Put the model's tokens into the story where this weave hangs; show what is below them."""
        change = self._document.accept(run, self.at, onward=onward)
        self._show(woven.after(run.ids, self._place()))
        return change

    async def fit(self, constraint: Constraint | None, source: Source | None) -> None:
        """Later weaves must fit this, from the cursor on; compiled once.

        Raises UsageError for one that cannot be, and keeps the former then.
        """
        compiled = None
        if constraint is not None:
            assert source is not None
            compiled = await asyncio.to_thread(compile, constraint, source.vocabulary)
        self.constraint, self._compiled = constraint, compiled

    async def settle(self, woven: Woven, source: Source) -> bool:
        """Begin again with the tokens that a server gives the story, where `open` could only guess
        them; whether it did."""
        fresh = await told_more(source) and not woven.weave.facts
        if not fresh or woven.place != self._place():
            return False
        told = self._begin(woven.place, source)
        woven.weave, woven.prompt = told.weave, told.prompt
        return True

    def leave_model(self) -> None:
        """The model goes: what it suggested stays in sight, stale."""
        self._models += 1
        self._weaves.forget_vocabulary()
        self.stale = self.woven is not None

    def restore(self, source: Source) -> None:
        """Show the weave and the lines kept in the loom, where the story stands as it did."""
        kept = unpack(self._document.load_weave() or b"")
        if kept is None or not kept.of(source):
            self.look(source)
            return
        try:
            woven = self._begin(self._place(), source, kept)
        except LltermError as error:  # The next weave says it to the person.
            log.warning("%s", error)
            return
        if (woven.prompt.tokens, woven.prompt.residue) == (kept.tokens, kept.residue):
            woven.cost, woven.seconds = kept.cost, kept.seconds
            self._show(woven)

    def keep(self, source: Source | None) -> None:
        """Put the weave on show into the loom, for `restore`."""
        woven = self.woven
        if woven is None or woven.weave.constraint is not None or source is None or self.stale:
            return
        document = self._document
        document.save_weave(pack(woven.weave, source, woven.cost, woven.seconds))
        if lines := pack_lines(woven.weave, woven.samples, source):
            document.save_lines(woven.place[0], lines)

    def _place(self) -> Place:
        document = self._document
        before = document.bytes_before(document.cursor)
        return before, root_text(document), self._models, self.constraint

    def _find(self, place: Place, source: Source) -> Woven | None:
        """An earlier weave of this very text, under the present rules."""
        rules, bans = self._document.rules, self._drawing.sampling.bans
        return self._weaves.find(place, rules, bans, source)

    def _begin(self, place: Place, source: Source, kept: SavedWeave | None = None) -> Woven:
        bans = self._drawing.sampling.bans
        return self._weaves.begin(place, self._document, source, self._compiled, bans, kept)

    def _drawn(self, place: Place, source: Source) -> Woven | None:
        """A place where lines were drawn, maybe before a restart, with them."""
        if not self._document.load_lines(place[0]):
            return None
        try:
            woven = self._begin(place, source)
        except LltermError as error:  # The next weave says it to the person.
            log.warning("%s", error)
            return None
        return woven if woven.samples else None

    def _show(self, woven: Woven) -> None:
        self.woven, self._away = woven, False
        self._weaves.keep(woven)
        self.at = self._document.cursor
        self.stale = False
