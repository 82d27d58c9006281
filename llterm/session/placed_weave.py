"""A weave at its place in the story, with the samples drawn there, and what its paths add."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice

from llterm.constraints.spec import Constraint
from llterm.core.beams import Step
from llterm.core.distribution import Distribution
from llterm.core.prompt import Prompt
from llterm.core.provenance import Arrival
from llterm.core.query import Cost, Source
from llterm.core.scored_text import TokenReading, read_step
from llterm.core.suggestion_tree import View, adding
from llterm.core.tokens import Anchor, Tail, Vocabulary
from llterm.core.weave_state import Weave
from llterm.errors import UsageError
from llterm.session.manuscript import ModelRun
from llterm.session.placed_sample import PlacedSample, added_text, alternatives, find, rows
from llterm.session.status import Figures

Place = tuple[bytes, str, int, Constraint | None]
"""What a weave depends on: the story's bytes before it, what stands before the story, which of the
session's models it was, what suggestions must fit."""
REJECTED = 8
"""Suggestions kept that were there and not taken."""


@dataclass(frozen=True, slots=True)
class SuggestedPath(ABC):
    """The first tokens of a suggestion, or of a sample."""

    steps: Sequence[Step]
    distributions: Sequence[Distribution]
    """The one before each token."""
    residue: bytes
    """The end of the story that the first tokens write again (healing)."""

    @property
    def data(self) -> bytes:
        """What it adds to the story."""
        return added_text(self.steps, self.residue)

    @property
    def adding(self) -> Sequence[Step]:
        """The tokens that add text to the story."""
        return adding(self.steps, self.residue)

    @property
    def first_token(self) -> int:
        """How many tokens add the least text."""
        sizes = range(1, len(self.steps))
        return next((size for size in sizes if self._text(size)), len(self.steps))

    @property
    def first_word(self) -> int:
        """How many tokens hold its first word: up to where the next one begins."""
        for size in range(1, len(self.steps)):
            text = self._text(size)
            if text.strip() and self._text(size + 1)[len(text) :][:1].isspace():
                return size
        return len(self.steps)

    def readings(self, vocabulary: Vocabulary) -> list[TokenReading]:
        """The tokens as the model sees them; costs nothing. Those that only write the residue
        again are left out."""
        first = len(self.steps) - len(self.adding)
        return [
            read_step(self.steps[n], self.distributions[n], vocabulary, n)
            for n in range(first, len(self.steps))
        ]

    def run(self, source: Source) -> ModelRun:
        """The tokens as the story keeps them: with logprobs, alternatives and settings.

        An end-of-text token is shown in the tree, but does not go into a story. Raises UsageError
        for what is banned.
        """
        steps, vocabulary = self.steps, source.vocabulary
        if steps and vocabulary.token(steps[-1].id).end:
            steps = steps[:-1]
        run = ModelRun(
            ids=tuple(step.id for step in steps),
            sizes=tuple(0 if step.special else len(step.data) for step in steps),
            data=added_text(steps, self.residue),
            logprobs=tuple(step.logprob for step in steps),
            overlap=len(self.residue),
            model=source.name,
            fingerprint=vocabulary.fingerprint,
            settings={},
            alternatives=tuple(
                alternatives(before, vocabulary) for before in self.distributions[: len(steps)]
            ),
            kernels=source.capabilities.kernel_kind,
        )
        return self._with_origin(run)

    @abstractmethod
    def _with_origin(self, run: ModelRun) -> ModelRun:
        """The run with how its tokens came, and under which settings."""

    def _text(self, size: int) -> bytes:
        return added_text(self.steps[:size], self.residue)


@dataclass(frozen=True, slots=True)
class WeavePath(SuggestedPath):
    """The first tokens of a suggestion."""

    weave: Weave

    @classmethod
    def of(cls, weave: Weave, tail: Tail) -> WeavePath:
        """Raises KeyError where the weave does not know the path."""
        weave = weave.telling(tail)
        steps = weave.beam(tail).steps
        before = [weave.facts[tail[:size]] for size in range(len(tail))]
        return cls(steps, before, weave.residue, weave)

    def _with_origin(self, run: ModelRun) -> ModelRun:
        weave, ids = self.weave, run.ids
        banned = weave.beam(ids).banned
        if banned:
            raise UsageError("This branch may not stand", f"It is taken by: {banned}.", "")
        others = (
            (suggestion.data, suggestion.logprob)
            for suggestion in weave.view().suggestions
            if suggestion.tail[: len(ids)] != ids and suggestion.data
        )
        return replace(
            run,
            settings=asdict(weave.rules),
            rejected=tuple(islice(others, REJECTED)),
            arrivals=tuple(self._arrival(ids[:size]) for size in range(len(ids))),
        )

    def _arrival(self, before: Tail) -> Arrival:
        """How the token after these came with a suggestion."""
        mask = self.weave.mask(before)
        only = mask is not None and int(mask.allowed.sum()) == 1
        return Arrival("forced" if only else "accepted")


@dataclass(frozen=True, slots=True)
class SamplePath(SuggestedPath):
    """The first tokens of a sample."""

    sample: PlacedSample

    @classmethod
    def of(cls, sample: PlacedSample, size: int | None = None) -> SamplePath:
        """Its first `size` tokens; without that, all it has."""
        return cls(sample.steps[:size], sample.found[:size], sample.residue, sample)

    def _with_origin(self, run: ModelRun) -> ModelRun:
        settings: dict[str, object] = {
            "sampling": asdict(self.sample.sampling),
            "line": self.sample.number,
        }
        if self.sample.finish == "end" and len(self.steps) == len(self.sample.steps):
            settings["finish"] = "end"
        return replace(
            run,
            settings=settings,
            arrivals=tuple(self.sample.arrivals[: len(run.ids)]),
        )


@dataclass(slots=True)
class PlacedWeave:
    """A weave with where it hangs and what it took."""

    weave: Weave
    place: Place
    prompt: Prompt
    cost: Cost = field(default_factory=Cost)
    seconds: float = 0.0
    samples: list[PlacedSample] = field(default_factory=list)
    """Drawn here, the newest drawing's first."""

    def figures(self, context: int, seconds: float, mark: int, *, stale: bool) -> Figures:
        """What it took in so many seconds, and what a model of this context sees; not of a text
        that is another one meanwhile."""
        return Figures(
            seconds=seconds,
            tokens=self.cost.tokens,
            prompt_tokens=self.cost.prompt_tokens,
            again=self.cost.again,
            decodes=self.cost.decodes,
            requests=self.cost.requests,
            sight=None if stale else self.prompt.sight,
            context=context,
            mark=mark,
        )

    def has_room(self, context: int) -> bool:
        """Whether the model can see all that the weave begins with, and go on from it.

        Tokens that were accepted lengthen it; past the context it is a weave anew, whose window
        begins further on.
        """
        return len(self.weave.anchor.tokens) + self.weave.rules.depth <= context

    def view(self, *, running: bool, banned: bool) -> View:
        """The suggestion tree, the samples first."""
        view = self.weave.view(running=running, banned=banned)
        if self.samples:
            view = replace(view, branches=(*rows(self.samples), *view.branches))
        return view

    def path(self, tail: Tail) -> SuggestedPath:
        """What a row of the tree stands for, or the first part of one."""
        sample = find(self.samples, tail)
        if sample is not None:
            return SamplePath.of(sample, len(tail) - 1)
        return WeavePath.of(self.weave, tail)

    def ids(self, tail: Tail) -> Tail:
        """The tokens after the anchor that a row of the tree stands for."""
        return tail if find(self.samples, tail) is None else tail[1:]

    def part(self, tail: Tail, size: int) -> Tail:
        """A row's tail up to its first `size` tokens: a sample's begins with its mark."""
        return tail[: len(tail) - len(self.ids(tail)) + size]

    def after(self, ids: Tail, place: Place) -> PlacedWeave:
        """What hangs below these tokens, now that the story has them and ends at `place`."""
        weave = self.weave.at(ids, Anchor(self.weave.anchor.tokens + ids))
        sight = self.prompt.sight
        prompt = replace(
            self.prompt,
            tokens=weave.anchor.tokens,
            residue=weave.residue,
            before=weave.before[-64:],
            sight=replace(sight, story=sight.story + len(ids)),
        )
        left = [rest for sample in self.samples if (rest := sample.after(ids)) is not None]
        return PlacedWeave(weave, place, prompt, samples=left)
