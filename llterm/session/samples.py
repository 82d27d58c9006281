"""Lines that were sampled at a place of the story: what they hold, and how the tree shows them.

In the tree's rows a line's tail begins with a mark that no token has, so that it is never taken for
a branch of the search; see `mark`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from llterm.core.beams import Finish as Shown
from llterm.core.beams import Step
from llterm.core.distribution import Distribution, Mask
from llterm.core.healing import healed
from llterm.core.provenance import Arrival
from llterm.core.query import Source
from llterm.core.sampling.sampler_settings import Sampling
from llterm.core.scored_text import Reading, read_step
from llterm.core.suggestion_tree import Branch, adding
from llterm.core.tokens import Tail, Vocabulary
from llterm.engine.draw import Drawn, Finish
from llterm.session.changes import ModelRun
from llterm.session.taking import alternatives, arrival_of

_ENDS: dict[Finish | None, Shown | None] = {None: None, "end": "end", "stop": "stop",
                                            "length": "depth"}  # fmt: skip


def mark(number: int) -> int:
    """What the tail of line `number` (from 0) begins with in the tree: below 0, as no token is."""
    return -1 - number


@dataclass(slots=True, eq=False)
class Sample:
    """One line, as far as it is drawn."""

    number: int
    """From 0; with the seed it decides what is drawn."""
    residue: bytes
    """The end of the story that its first tokens write again (healing)."""
    sampling: Sampling
    steps: list[Step] = field(default_factory=list)
    """With the raw model's probabilities (given the tokens that healing or a constraint allow)."""
    found: list[Distribution] = field(default_factory=list)
    """The distribution before each token, less the whole vocabulary."""
    finish: Finish | None = None
    """None while it is drawn."""
    arrivals: list[Arrival] = field(default_factory=list)
    """How each token came; none of lines that an earlier version kept."""

    @property
    def ids(self) -> Tail:
        return tuple(step.id for step in self.steps)

    @property
    def data(self) -> bytes:
        """What it adds to the story."""
        return self.part(len(self.steps))

    @property
    def logprob(self) -> float:
        """Joint, of the raw model."""
        return math.fsum(step.logprob for step in self.steps)

    @property
    def adding(self) -> Sequence[Step]:
        """The tokens that add text."""
        return adding(self.steps, self.residue)

    def part(self, size: int) -> bytes:
        """What its first `size` tokens add to the story."""
        steps = self.steps[:size]
        return b"".join(b"" if step.special else step.data for step in steps)[len(self.residue) :]

    def take(self, drawn: Drawn, mask: Mask | None) -> None:
        """Put a drawn token at the end; `mask` is what might stand there."""
        found, id = drawn.found, drawn.choice.id
        logprob, permitted, rank = drawn.choice.logprob, found.permitted, 1
        if found.full is not None:
            free = found.full if mask is None else found.full[mask.allowed]
            permitted = float(np.exp(free, dtype=np.float64).sum()) if mask is not None else 1.0
            rank += int((free > found.full[id]).sum())
        else:
            rank += int((found.ids == id).argmax())
        token = drawn.token
        if mask is not None and permitted > 0:
            logprob = min(logprob - math.log(permitted), 0.0)
        self.steps.append(Step(id, token.data, logprob, rank, token.special, permitted))
        self.found.append(replace(found, full=None))
        self.arrivals.append(arrival_of(drawn.choice))
        self.finish = drawn.line.finish

    def after(self, ids: Tail) -> Sample | None:
        """What is left of it when these tokens were accepted; None where it went another way."""
        size = len(ids)
        if self.ids[:size] != ids or size >= len(self.steps):
            return None
        written = b"".join(b"" if one.special else one.data for one in self.steps[:size])
        return replace(
            self,
            residue=self.residue[len(written) :],
            steps=self.steps[size:],
            found=self.found[size:],
            arrivals=self.arrivals[size:],
            finish=self.finish or "stopped",
        )

    def first_token(self, most: int) -> int:
        """How many tokens, at most so many, add the least text."""
        return next((size for size in range(1, most) if self.part(size)), most)

    def first_word(self, most: int) -> int:
        """How many tokens, at most so many, hold its first word: up to where the next begins."""
        for size in range(1, most):
            shown = self.part(size + 1)[len(self.part(size)) :]
            if self.part(size).strip() and shown[:1].isspace():
                return size
        return most

    def run(self, size: int, source: Source) -> ModelRun:
        """Its first `size` tokens as the story keeps them; an end-of-text token is left out."""
        names = source.vocabulary
        if size and names.token(self.steps[size - 1].id).end:
            size -= 1
        steps = self.steps[:size]
        return ModelRun(
            ids=tuple(step.id for step in steps),
            sizes=tuple(0 if step.special else len(step.data) for step in steps),
            data=self.part(size),
            logprobs=tuple(step.logprob for step in steps),
            overlap=len(self.residue),
            model=source.name,
            fingerprint=names.fingerprint,
            settings={"sampling": asdict(self.sampling), "line": self.number},
            alternatives=tuple(alternatives(found, names) for found in self.found[:size]),
            arrivals=tuple(self.arrivals[:size]),
        )

    def readings(self, size: int, names: Vocabulary) -> list[Reading]:
        """Its first `size` tokens as the model sees them, less those that write the residue."""
        first = len(self.steps) - len(self.adding)
        return [
            read_step(self.steps[n], self.found[n], names, n)
            for n in range(first, min(size, len(self.steps)))
        ]


def find(samples: Sequence[Sample], tail: Tail) -> Sample | None:
    """The line that a row's tail is of; None where it is one of the search's."""
    if not tail or tail[0] >= 0:
        return None
    return next((one for one in samples if mark(one.number) == tail[0]), None)


def rows(samples: Sequence[Sample]) -> tuple[Branch, ...]:
    """A row each, lines that came out equal in one; those with no text yet are left out."""
    shown: dict[object, list[Sample]] = {}
    for one in samples:
        if one.steps:
            key = (one.ids, one.finish) if one.finish is not None else one.number
            shown.setdefault(key, []).append(one)
    return tuple(map(_row, shown.values()))


def _row(equal: Sequence[Sample]) -> Branch:
    one = equal[0]
    numbers = ", ".join(str(sample.number + 1) for sample in equal)
    return Branch(
        tail=(mark(one.number), *one.ids),
        steps=tuple(one.steps),
        data=one.data,
        p=math.exp(one.logprob),
        logprob=one.logprob,
        finish=_ENDS.get(one.finish, "open"),
        healed=healed(one.residue, one.data),
        sampled=f"{'sample' if len(equal) == 1 else 'samples'} {numbers}",
    )
