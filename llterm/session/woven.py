"""A weave with where it hangs in the story and what it took; paths of its tree, lines included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from llterm.constraints.spec import Constraint
from llterm.core.beams import Step
from llterm.core.prompt import Prompt
from llterm.core.query import Cost, Source
from llterm.core.scored_text import Reading
from llterm.core.suggestion_tree import View, adding
from llterm.core.tokens import Anchor, Tail, Vocabulary
from llterm.core.weave_state import Weave
from llterm.session import samples, taking
from llterm.session.changes import ModelRun
from llterm.session.samples import Sample
from llterm.session.status import Figures

Place = tuple[bytes, str, int, Constraint | None]
"""What a weave depends on: the story's bytes before it, what stands before the story, which of the
session's models it was, what suggestions must fit."""


@dataclass(slots=True)
class Woven:
    """A weave with where it hangs and what it took."""

    weave: Weave
    place: Place
    prompt: Prompt
    cost: Cost = field(default_factory=Cost)
    seconds: float = 0.0
    samples: list[Sample] = field(default_factory=list)
    """Lines that were sampled here, the newest drawing's first."""

    def figures(self, context: int, seconds: float, mark: int, *, stale: bool) -> Figures:
        """What it took in so many seconds, and what a model of this context sees; not of a text
        that is another one meanwhile."""
        return Figures(
            seconds=seconds,
            tokens=self.cost.tokens,
            prompt_tokens=self.cost.prompt_tokens,
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
        """The suggestion tree, the sampled lines first."""
        view = self.weave.view(running=running, banned=banned)
        if self.samples:
            view = replace(view, branches=(*samples.rows(self.samples), *view.branches))
        return view

    def adds(self, tail: Tail) -> bytes:
        """What a path of the tree adds to the story."""
        sample = samples.find(self.samples, tail)
        return sample.part(len(tail) - 1) if sample else self.weave.beam(tail).data

    def adding(self, tail: Tail) -> Sequence[Step]:
        """The tokens of a path of the tree that add text to the story."""
        sample = samples.find(self.samples, tail)
        if sample is not None:
            return adding(sample.steps[: len(tail) - 1], sample.residue)
        return adding(self.weave.beam(tail).steps, self.weave.residue)

    def ids(self, tail: Tail) -> Tail:
        """The tokens after the anchor that a path of the tree stands for."""
        return tail if samples.find(self.samples, tail) is None else tail[1:]

    def run(self, tail: Tail, source: Source) -> ModelRun:
        """A path of the tree as the story keeps it. Raises UsageError for what is banned."""
        sample = samples.find(self.samples, tail)
        if sample is not None:
            return sample.run(len(tail) - 1, source)
        return taking.model_run(self.weave, tail, source)

    def readings(self, tail: Tail, names: Vocabulary) -> list[Reading]:
        """The tokens of a path as the model sees them; costs nothing.

        Those that only write again what the story ends in are left out.
        """
        sample = samples.find(self.samples, tail)
        if sample is not None:
            return sample.readings(len(tail) - 1, names)
        return taking.readings_along(self.weave, tail, names)

    def first_token(self, tail: Tail) -> Tail:
        """The least part of `tail` that adds text."""
        sample = samples.find(self.samples, tail)
        if sample is not None:
            return tail[: 1 + sample.first_token(len(tail) - 1)]
        return taking.first_token(self.weave, tail)

    def first_word(self, tail: Tail) -> Tail:
        """The part of `tail` that holds its first word: up to where the next one begins."""
        sample = samples.find(self.samples, tail)
        if sample is not None:
            return tail[: 1 + sample.first_word(len(tail) - 1)]
        return taking.first_word(self.weave, tail)

    def after(self, ids: Tail, place: Place) -> Woven:
        """What hangs below these tokens, now that the story has them and ends at `place`."""
        weave = self.weave.at(ids, Anchor(self.weave.anchor.tokens + ids))
        prompt = taking.taken(self.prompt, weave, ids)
        left = [rest for one in self.samples if (rest := one.after(ids)) is not None]
        return Woven(weave, place, prompt, samples=left)
