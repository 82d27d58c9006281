"""The suggestions after the cursor: the weave on show, whether it is of this place, and lately used
weaves to come back to after an undo."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from llterm.constraints.compiled import Compiled, compile
from llterm.constraints.spec import Constraint, constraint_text, read_constraint
from llterm.core.bans import Bans
from llterm.core.chat_messages import Chat, ChatParts, read_chat
from llterm.core.healing import Healer
from llterm.core.pieces import Run
from llterm.core.prompt import Prompt, PromptDraft, draft_prompt
from llterm.core.query import Source
from llterm.core.tokens import LearnsTokens, Vocabulary
from llterm.core.weave_settings import WeaveSettings
from llterm.engine.prompt_heads import open_chat, opened_chat
from llterm.engine.weave import check_constraints, make_weave, rules_for, sees_less, surely_sees
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
        self._read: tuple[str, Constraint | None] = "", None
        self.shown: PlacedWeave | None = None
        """The weave on show; None when nothing was woven."""
        self.at = document.cursor
        """Display offset where the weave on show hangs."""
        self.stale = False
        """Whether they are of another place of the story, or of a model before this one."""
        self._away = False
        self._asked: Place | None = None
        """The place whose story's tokens were asked for last."""
        self.kept: WeaveBeginning | None = None
        """What the story's tokens are to be asked for, to bring kept samples back (`recall`)."""

    @property
    def constraint(self) -> Constraint | None:
        """What they must fit, as the loom says; an undo changes it too. None: anything."""
        text = self._document.constraint
        if text != self._read[0]:
            self._read = text, read_constraint(text)
        return self._read[1]

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

    def open(self, source: Source) -> PlacedWeave | WeaveBeginning:
        """Show the weave of this place: an earlier one of the same text, or one to begin.

        Where somebody has to be asked for the story's tokens, or for whether the model sees them
        all (`told`), it is only what the weave is to begin with, and none is shown.
        """
        place = self._place()
        beginning = self._beginning(place, source)
        placed = self._find(place, source)
        if placed is None:
            placed = self._weaves.known(beginning)
            if placed is not None and not surely_sees(source, placed.prompt):
                placed = None
        if placed is None:
            self.shown, self._asked = None, place
            return beginning
        self._show(placed)
        return placed

    async def told(self, beginning: WeaveBeginning) -> PlacedWeave:
        """Ask for the tokens, and show the weave. Where the story is another one by then, it is
        stale. Raises LltermError where they cannot be told."""
        told = await self._weaves.told(beginning)
        placed = self._find(beginning.place, beginning.source) or told
        self._show(placed)
        self.at, self.stale = beginning.cursor, placed.place != self._place()
        return placed

    @property
    def asked_here(self) -> bool:
        """Whether this is the place whose tokens were asked for last."""
        return self._asked == self._place()

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

    async def recall(self, beginning: WeaveBeginning) -> None:
        """Show the samples that are kept of a place, if the cursor is still there and nothing else
        of it is shown. Raises LltermError where the tokens cannot be told."""
        placed = await self._weaves.told(beginning)
        if placed.samples and placed.place == self._place() and not (self.here or self._away):
            self._show(placed)

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
        """Later weaves must fit this, from the cursor on: a step that can be undone.

        Raises UsageError for one that cannot be, and keeps the former then.
        """
        if constraint is not None and source is not None:
            await self._weaves.compiled(constraint, source)
        self._document.set_constraint(constraint_text(constraint))

    def leave_model(self) -> None:
        """The model goes: what it suggested stays in sight, stale."""
        self._models += 1
        self._weaves.forget_vocabulary()
        self.stale = self.shown is not None

    def restore(self, source: Source) -> None:
        """Show the weave and the samples kept in the loom, where the story stands as it did."""
        saved = None
        if self.constraint is None:
            saved = unpack(self._document.load_weave() or b"")
        if saved is None or not saved.of(source):
            self.look(source)
            return
        try:
            placed = self._weaves.known(self._beginning(self._place(), source), saved)
        except LltermError as error:  # The next weave says it to the person.
            log.warning("%s", error)
            return
        if placed is not None:
            placed.cost, placed.seconds = saved.cost, saved.seconds
            self._show(placed)

    def keep(self, source: Source | None) -> None:
        """Put the weave on show into the loom, for `restore`."""
        placed = self.shown
        if placed is None or placed.weave.constraint is not None or source is None or self.stale:
            return
        blob = pack(placed.weave.on_show, source, placed.cost, placed.seconds)
        self._document.save_weave(blob)
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

    def _beginning(self, place: Place, source: Source) -> WeaveBeginning:
        bans = self._drawing.sampling.bans
        return WeaveBeginning.of(place, self._document, source, self.constraint, bans)

    def _sampled(self, place: Place, source: Source) -> PlacedWeave | None:
        """A place where samples were drawn, maybe before a restart, with them."""
        if not self._document.load_lines(place[0]):
            return None
        beginning = self._beginning(place, source)
        try:
            placed = self._weaves.known(beginning)
        except LltermError as error:  # The next weave says it to the person.
            log.warning("%s", error)
            return None
        if placed is None:
            self.kept = beginning
        return placed if placed is not None and placed.samples else None

    def _show(self, placed: PlacedWeave) -> None:
        self.shown, self._away = placed, False
        self._weaves.keep(placed)
        self.at = self._document.cursor
        self.stale = False


@dataclass(frozen=True, slots=True)
class WeaveBeginning:
    """What a weave begins with, but the tokens."""

    place: Place
    cursor: int
    """Display offset where it hangs."""
    source: Source
    runs: Sequence[Run]
    prefix: str
    chat: Chat
    rules: WeaveSettings
    constraint: Constraint | None
    bans: Bans
    kept_samples: bytes

    @classmethod
    def of(
        cls,
        place: Place,
        document: Document,
        source: Source,
        constraint: Constraint | None,
        bans: Bans,
    ) -> WeaveBeginning:
        """A weave's at the document's cursor."""
        return cls(
            place,
            document.cursor,
            source,
            document.runs_before(document.cursor),
            document.prefix,
            root_chat(document),
            rules_for(document.rules, source, constrained=constraint is not None),
            constraint,
            bans,
            document.load_lines(place[0]),
        )

    def draft(self, chat: ChatParts) -> PromptDraft:
        """What the model is to be given, behind the chat as it opens it."""
        return draft_prompt(
            self.runs,
            self.prefix,
            self.source.vocabulary,
            self.rules,
            self.source.capabilities.context,
            chat,
        )


class WeaveCache:
    """Lately used weaves by place; the oldest go when they are too large."""

    def __init__(self) -> None:
        self._by_place: OrderedDict[Place, PlacedWeave] = OrderedDict()
        self._healer: Healer | None = None
        self._compiled: tuple[Constraint, Vocabulary, Compiled] | None = None

    async def compiled(self, constraint: Constraint, source: Source) -> Compiled:
        """The constraint over the source's vocabulary, made once. Raises LltermError where it
        cannot be, or the source cannot be held to one."""
        check_constraints(source)
        made = self._ready(constraint, source)
        if made is None:
            made = await asyncio.to_thread(compile, constraint, source.vocabulary)
            self._compiled = constraint, source.vocabulary, made
        return made

    def _ready(self, constraint: Constraint, source: Source) -> Compiled | None:
        """The constraint, where it is compiled."""
        if self._compiled is None or self._compiled[0] != constraint:
            return None
        return self._compiled[2] if self._compiled[1] is source.vocabulary else None

    def keep(self, placed: PlacedWeave) -> None:
        """Come back to it later."""
        last = next(reversed(self._by_place.values()), placed)
        if last is not placed and not last.weave.on_show.facts and not last.samples:
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

    def known(
        self, beginning: WeaveBeginning, saved: SavedWeave | None = None
    ) -> PlacedWeave | None:
        """A weave, where its prompt's tokens are known, and where it is given that of `saved`, with
        what the loom kept of it; else None. Raises LltermError."""
        vocabulary = beginning.source.vocabulary
        chat = beginning.chat
        parts = open_chat(beginning.source, chat) if chat else ()
        constraint = beginning.constraint
        if parts is None or (constraint and self._ready(constraint, beginning.source) is None):
            return None
        if saved is not None and isinstance(vocabulary, LearnsTokens):
            vocabulary.learn(saved.names)
        draft = beginning.draft(parts)
        prompt = saved.prompt(draft, vocabulary) if saved is not None else draft.known(vocabulary)
        return None if prompt is None else self._made(beginning, prompt, saved)

    async def told(self, beginning: WeaveBeginning) -> PlacedWeave:
        """A weave; asks for its prompt's tokens. Raises LltermError where they cannot be told."""
        source, chat = beginning.source, await opened_chat(beginning.source, beginning.chat)
        if beginning.constraint is not None:
            await self.compiled(beginning.constraint, source)
        while True:
            prompt = await beginning.draft(chat).prompt(source.vocabulary)
            if not await sees_less(source, prompt):
                return self._made(beginning, prompt)

    def _made(
        self, beginning: WeaveBeginning, prompt: Prompt, saved: SavedWeave | None = None
    ) -> PlacedWeave:
        source, constraint = beginning.source, beginning.constraint
        if prompt.residue and self._healer is None:
            self._healer = Healer(source.vocabulary)
        weave = make_weave(
            source,
            prompt,
            beginning.rules,
            healer=self._healer,
            facts=saved.facts if saved else None,
            grown=saved.grown if saved else (),
            carried=saved is not None and saved.carried,
            canonical=saved.canonical if saved else (),
            constraint=self._ready(constraint, source) if constraint is not None else None,
            bans=beginning.bans,
        )
        samples = unpack_samples(beginning.kept_samples, weave, source)
        return PlacedWeave(weave, beginning.place, prompt, samples=samples)

    def forget_vocabulary(self) -> None:
        """Another model: what was made of the former one's tokens goes."""
        self._healer = None

    def _candidates(self) -> int:
        count = 0
        for placed in self._by_place.values():
            count += sum(len(fact.ids) for fact in placed.weave.on_show.facts.values())
            for sample in placed.samples:
                count += sum(len(before.ids) for before in sample.found)
        return count


def root_chat(document: Document) -> Chat:
    """The chat that the story is a reply to, empty where it is none; the hidden prefix joins its
    system message."""
    chat = read_chat(document.chat)
    return chat.with_prefix(document.prefix) if chat else Chat()
