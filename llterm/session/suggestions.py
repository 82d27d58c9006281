"""The suggestions after the cursor: the weave on show, whether it is of this place, and lately used
weaves to come back to after an undo."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict

from llterm.constraints.compiled import Compiled, compile
from llterm.constraints.spec import Constraint
from llterm.core.bans import Bans
from llterm.core.chat_messages import ChatParts, read_chat
from llterm.core.distribution import Constrained
from llterm.core.healing import Healer
from llterm.core.prompt import make_prompt
from llterm.core.query import Source
from llterm.core.tokens import LearnsTokens
from llterm.core.weave_settings import WeaveSettings
from llterm.engine.prompt_heads import open_chat
from llterm.engine.weave import make_weave, rules_for, told_more
from llterm.errors import LltermError, UsageError
from llterm.session.document import Document
from llterm.session.placed_weave import Place, PlacedWeave
from llterm.session.sampler_choice import SamplerChoice
from llterm.session.saved_samples import pack_samples, unpack_samples
from llterm.store.saved_weave import SavedWeave, pack, unpack

log = logging.getLogger(__name__)

MOST_CANDIDATES = 2_500_000
"""Candidates kept for weaves that are not on show: some 25 MB."""


class Suggestions:
    """The weave on show, and those to come back to. Nothing is searched here."""

    def __init__(self, document: Document, drawing: SamplerChoice) -> None:
        self._document = document
        self._drawing = drawing
        self._weaves = WeaveCache()
        self._models = 0
        """How many models there have been: a weave belongs to the one of its number."""
        self._compiled: Compiled | None = None
        self.constraint: Constraint | None = None
        """What they must fit; None: anything."""
        self.shown: PlacedWeave | None = None
        """The weave on show; None when nothing was woven."""
        self.at = document.cursor
        """Display offset where the weave on show hangs."""
        self.stale = False
        """Whether they are of another place of the story, or of a model before this one."""
        self._away = False

    @property
    def foreign(self) -> bool:
        """Whether the suggestions on show are those of a model before this one."""
        return self.shown is not None and self.shown.place[2] != self._models

    @property
    def here(self) -> bool:
        """Whether the weave on show is the one of this very place."""
        return self.shown is not None and self.shown.place == self._place()

    @property
    def current(self) -> PlacedWeave:
        """The weave on show, where it may be taken from. Raises UsageError where it may not."""
        if self.shown is None:
            raise UsageError("There are no suggestions", "", "Weave first.")
        if self.foreign:
            raise UsageError(
                "These suggestions are of another model", "It is not in use now.", "Weave again."
            )
        if self.stale:
            raise UsageError(
                "These suggestions belong to another text",
                "The story or the cursor has changed since they were woven.",
                "Weave again, or undo.",
            )
        return self.shown

    def ready(self, source: Source) -> PlacedWeave | None:
        """The weave on show, if it is of this place and the model has room to go on with it."""
        placed = self.shown if self.here else None
        return placed if placed and placed.has_room(source.capabilities.context) else None

    def open(self, source: Source) -> PlacedWeave:
        """Show the weave of this place: an earlier one of the same text, or one to begin."""
        place = self._place()
        placed = self._find(place, source) or self._begin(place, source)
        self._show(placed)
        return placed

    def look(self, source: Source | None) -> None:
        """The text or the cursor changed: are they still those of this place?

        With a source an earlier weave of this very text comes back, and samples that were drawn
        here, unless the person put the suggestions away.
        """
        place = self._place()
        elsewhere = self.shown is None or self.shown.place != place
        if elsewhere and source is not None and not self._away:
            self.shown = self._find(place, source) or self._sampled(place, source) or self.shown
        if self.shown is None:
            return
        self.stale = self.shown.place != place
        if not self.stale:
            self.at = self._document.cursor

    def put_away(self) -> None:
        """Show none, until the person asks for them."""
        self.shown, self._away = None, True

    def derive(self, source: Source | None) -> None:
        """The tree anew under the document's rules and bans, with no inference."""
        if self.shown is not None:
            rules = self._document.rules
            rules = rules_for(rules, source) if source is not None else rules
            self.shown.weave = self.shown.weave.under(rules, self._drawing.sampling.bans)

    def follow(self, placed: PlacedWeave, ids: tuple[int, ...]) -> None:
        """These tokens went from a weave into the story: show what hangs below them."""
        self._show(placed.after(ids, self._place()))

    async def fit(self, constraint: Constraint | None, source: Source | None) -> None:
        """Later weaves must fit this, from the cursor on; compiled once.

        Raises UsageError for one that cannot be, and keeps the former then.
        """
        compiled = None
        if constraint is not None:
            assert source is not None
            compiled = await asyncio.to_thread(compile, constraint, source.vocabulary)
        self.constraint, self._compiled = constraint, compiled

    async def settle(self, placed: PlacedWeave, source: Source) -> bool:
        """Begin again with the tokens that a server gives the story, where `open` could only guess
        them. Returns whether it did."""
        fresh = await told_more(source) and not placed.weave.facts
        if not fresh or placed.place != self._place():
            return False
        anew = self._begin(placed.place, source)
        placed.weave, placed.prompt = anew.weave, anew.prompt
        return True

    def leave_model(self) -> None:
        """The model goes: what it suggested stays in sight, stale."""
        self._models += 1
        self._weaves.forget_vocabulary()
        self.stale = self.shown is not None

    def restore(self, source: Source) -> None:
        """Show the weave and the samples kept in the loom, where the story stands as it did."""
        saved = unpack(self._document.load_weave() or b"")
        if saved is None or not saved.of(source):
            self.look(source)
            return
        try:
            placed = self._begin(self._place(), source, saved)
        except LltermError as error:  # The next weave says it to the person.
            log.warning("%s", error)
            return
        if (placed.prompt.tokens, placed.prompt.residue) == (saved.tokens, saved.residue):
            placed.cost, placed.seconds = saved.cost, saved.seconds
            self._show(placed)

    def keep(self, source: Source | None) -> None:
        """Put the weave on show into the loom, for `restore`."""
        placed = self.shown
        if placed is None or placed.weave.constraint is not None or source is None or self.stale:
            return
        self._document.save_weave(pack(placed.weave, source, placed.cost, placed.seconds))
        self.keep_samples(placed, source)

    def keep_samples(self, placed: PlacedWeave, source: Source) -> None:
        """Put a place's samples into the loom, so that they come back with it."""
        if blob := pack_samples(placed.weave, placed.samples, source):
            self._document.save_lines(placed.place[0], blob)

    def _place(self) -> Place:
        document = self._document
        before = document.bytes_before(document.cursor)
        # What stands before the story: the hidden prefix and the chat.
        root = f"{document.prefix}\0{document.chat}"
        return before, root, self._models, self.constraint

    def _find(self, place: Place, source: Source) -> PlacedWeave | None:
        """An earlier weave of this very text, under the present rules."""
        rules, bans = self._document.rules, self._drawing.sampling.bans
        return self._weaves.find(place, rules, bans, source)

    def _begin(self, place: Place, source: Source, saved: SavedWeave | None = None) -> PlacedWeave:
        bans = self._drawing.sampling.bans
        return self._weaves.begin(place, self._document, source, self._compiled, bans, saved)

    def _sampled(self, place: Place, source: Source) -> PlacedWeave | None:
        """A place where samples were drawn, maybe before a restart, with them."""
        if not self._document.load_lines(place[0]):
            return None
        try:
            placed = self._begin(place, source)
        except LltermError as error:  # The next weave says it to the person.
            log.warning("%s", error)
            return None
        return placed if placed.samples else None

    def _show(self, placed: PlacedWeave) -> None:
        self.shown, self._away = placed, False
        self._weaves.keep(placed)
        self.at = self._document.cursor
        self.stale = False


class WeaveCache:
    """Lately used weaves by place; the oldest go when they are too large."""

    def __init__(self) -> None:
        self._by_place: OrderedDict[Place, PlacedWeave] = OrderedDict()
        self._healer: Healer | None = None

    def keep(self, placed: PlacedWeave) -> None:
        """Come back to it later."""
        last = next(reversed(self._by_place.values()), placed)
        if last is not placed and not last.weave.facts and not last.samples:
            # Nothing was woven there: a play passes by many such places.
            del self._by_place[last.place]
        self._by_place[placed.place] = placed
        self._by_place.move_to_end(placed.place)
        while len(self._by_place) > 1 and self._candidates() > MOST_CANDIDATES:
            self._by_place.popitem(last=False)

    def find(
        self, place: Place, rules: WeaveSettings, bans: Bans, source: Source
    ) -> PlacedWeave | None:
        """An earlier weave of this very text, put under these rules and bans."""
        rules = rules_for(rules, source)
        placed = self._by_place.get(place)
        if placed is None or not placed.has_room(source.capabilities.context):
            return None
        weave = placed.weave
        if weave.constraint is None and weave.rules.heal != rules.heal:
            return None
        if (weave.rules, weave.bans) != (rules, bans):
            placed.weave = weave.under(rules, bans)
        elif weave.spent:
            weave.extend()
        return placed

    def begin(
        self,
        place: Place,
        document: Document,
        source: Source,
        constraint: Constrained | None,
        bans: Bans,
        saved: SavedWeave | None = None,
    ) -> PlacedWeave:
        """A weave at the document's cursor, with what the loom kept of it."""
        vocabulary = source.vocabulary
        rules = rules_for(document.rules, source, constrained=constraint is not None)
        runs = document.runs_before(document.cursor)
        context = source.capabilities.context
        chat = chat_parts(document, source)
        if saved is not None and isinstance(vocabulary, LearnsTokens):
            vocabulary.learn(saved.names)
        prompt = make_prompt(runs, document.prefix, vocabulary, rules, context, chat)
        prompt = saved.prompt(prompt, vocabulary) if saved is not None else prompt
        if prompt.residue and self._healer is None:
            self._healer = Healer(vocabulary)
        weave = make_weave(
            source,
            prompt,
            rules,
            healer=self._healer,
            facts=saved.facts if saved else None,
            grown=saved.grown if saved else (),
            constraint=constraint,
            bans=bans,
        )
        blob = document.load_lines(place[0])
        return PlacedWeave(weave, place, prompt, samples=unpack_samples(blob, weave, source))

    def forget_vocabulary(self) -> None:
        """Another model: what was made of the former one's tokens goes."""
        self._healer = None

    def _candidates(self) -> int:
        count = 0
        for placed in self._by_place.values():
            count += sum(len(fact.ids) for fact in placed.weave.facts.values())
            for sample in placed.samples:
                count += sum(len(before.ids) for before in sample.found)
        return count


def chat_parts(document: Document, source: Source) -> ChatParts:
    """The chat up to where the story, its reply, begins; empty where the loom has none.

    The hidden prefix joins the system message. Raises CapabilityMissing where the source has no
    template, ModelError where its template fails.
    """
    chat = read_chat(document.chat)
    if not chat:
        return ()
    return open_chat(source, chat.with_prefix(document.prefix))
