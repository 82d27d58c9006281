"""Grows branches of a loom: samples below several nodes at once, which become their children."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import reduce
from hashlib import blake2b

from llterm.core.chat_messages import read_chat
from llterm.core.distribution import Constrained
from llterm.core.healing import Healer
from llterm.core.prompt import Prompt, draft_prompt
from llterm.core.query import Source
from llterm.core.sampling.sampler_chain import Chain
from llterm.core.stops import Stopper
from llterm.core.tokens import common
from llterm.core.weave_settings import WeaveSettings
from llterm.engine.draw import STORY, Drawing, DrawingStart, Drawn, Sample
from llterm.engine.prompt_heads import opened_chat
from llterm.engine.weave import rules_for, sees_less
from llterm.errors import LltermError, UsageError
from llterm.session.document import Document
from llterm.session.placed_sample import PlacedSample
from llterm.session.placed_weave import SamplePath


@dataclass(frozen=True, slots=True)
class GrowthRules:
    """How many children each node gets, and where each of them ends."""

    count: int = 4
    tokens: int = 64
    """Most tokens of each."""
    sentence: bool = False
    """End where a sentence ends."""
    stops: tuple[str, ...] = ()
    """Texts that end a child."""
    heal: bool = True
    """Finish a word that the text before ends in first."""


@dataclass(slots=True, eq=False)
class GrowingChild:
    """A child that is drawn."""

    parent: int
    number: int
    """Among those of its parent, from 0."""
    sample: PlacedSample
    error: LltermError | None = None
    """Why the source could not go on with it; what was drawn before stays."""


async def prompt_at(document: Document, id: int, source: Source, rules: WeaveSettings) -> Prompt:
    """What the source is given to go on from a node, as much as it sees. Raises LltermError."""
    loom = document.loom
    chat = read_chat(document.chat)
    while True:
        opened = await opened_chat(source, chat.with_prefix(document.prefix) if chat else chat)
        runs, context = loom.runs_to(id), source.capabilities.context
        draft = draft_prompt(runs, document.prefix, source.vocabulary, rules, context, opened)
        prompt = await draft.prompt(source.vocabulary)
        if not await sees_less(source, prompt):
            return prompt


class Growth:
    """Children of some nodes, drawn together: a round of questions for each token of all.

    Made by `begin`; `run` draws, and `plant` hangs into the loom what was drawn.
    """

    def __init__(
        self, document: Document, source: Source, drawing: Drawing, children: list[GrowingChild]
    ) -> None:
        self._document = document
        self._source = source
        self.drawing = drawing
        self.children = children

    @classmethod
    async def begin(
        cls,
        document: Document,
        source: Source,
        nodes: Sequence[int],
        rules: GrowthRules,
        chain: Chain,
        constraint: Constrained | None = None,
    ) -> Growth:
        """Nothing is drawn yet. With a seed in the chain, a node's children depend on its text and
        on their numbers alone, not on the other nodes.

        Raises LltermError; UsageError for a node where the model ended its text.
        """
        for id in nodes:
            check_open(document, id)
        wanted = WeaveSettings(auto_stop=rules.sentence, stops=rules.stops, heal=rules.heal)
        able = rules_for(wanted, source, constrained=constraint is not None)
        able = replace(able, depth=rules.tokens)
        samples: list[Sample] = []
        children: list[GrowingChild] = []
        for id in nodes:
            prompt = await prompt_at(document, id, source, able)
            if not prompt.tokens:
                raise UsageError(
                    "There is no text to go on from", "", "This model needs a beginning."
                )
            text = document.loom.text(id)[-STORY:]
            start = DrawingStart(prompt.tokens, text, prompt.residue)
            stopper = Stopper(able, prompt.before)
            line = int.from_bytes(blake2b(text, digest_size=4).digest()) << 32
            for number in range(rules.count):
                samples.append(Sample(line + number, start, rules.tokens, stopper))
                placed = PlacedSample(number, prompt.residue, chain.sampling)
                children.append(GrowingChild(id, number, placed))
        starts = [sample.start.tokens for sample in samples if sample.start is not None]
        shared = reduce(lambda first, other: first[: common(first, other)], starts)
        drawing = Drawing(
            source,
            chain,
            DrawingStart(shared),
            samples,
            constraint,
            Healer(source.vocabulary) if able.heal else None,
        )
        return cls(document, source, drawing, children)

    async def run(self) -> AsyncGenerator[tuple[GrowingChild, Drawn]]:
        """Draw until every child has ended; yields after each token. Closing it cancels. Raises
        LltermError where nothing can be answered at all."""
        of_sample = dict(zip(map(id, self.drawing.samples), self.children, strict=True))
        async with aclosing(self.drawing.run()) as tokens:
            async for drawn in tokens:
                child = of_sample[id(drawn.sample)]
                child.sample.take(drawn)
                yield child, drawn
        for sample, child in zip(self.drawing.samples, self.children, strict=True):
            child.sample.finish, child.error = sample.finish, sample.error

    def plant(self) -> list[tuple[GrowingChild, int]]:
        """Hang what was drawn below the nodes, in one step of the history.

        Returns the children with their ids; those without text, which ended at once, make no node,
        and those whose parent is gone meanwhile have an error now.
        """
        loom = self._document.loom
        for child in self.children:
            if child.error is None and not (loom.holds(child.parent)):
                child.error = UsageError(
                    "That branch is not there", "It was deleted while it grew.", "Undo that."
                )
        kept = [child for child in self.children if child.sample.data and loom.holds(child.parent)]
        runs = [(child.parent, SamplePath.of(child.sample).run(self._source)) for child in kept]
        return list(zip(kept, self._document.branches.plant_all(runs), strict=True))


def check_open(document: Document, id: int) -> None:
    """Raise UsageError where the model ended its text with this node."""
    if id in document.loom.nodes and document.branches.ended(id):
        raise UsageError(
            "The model ended its text here",
            "Nothing grows from a text that has ended.",
            "Write something below it first, and grow from there.",
        )
