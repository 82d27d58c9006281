"""Samples at a place of the story: what they hold, and how the tree shows them.

In the tree's rows a sample's tail begins with a mark that no token has, so that it is never taken
for a branch of the search; see `mark`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from llterm.core.beams import Finish as Shown
from llterm.core.beams import Step
from llterm.core.distribution import Distribution
from llterm.core.healing import healed
from llterm.core.provenance import Alternative, Arrival
from llterm.core.sampling.sampler_chain import Choice
from llterm.core.sampling.sampler_settings import Sampling
from llterm.core.suggestion_tree import Branch, adding
from llterm.core.tokens import Tail, Vocabulary
from llterm.engine.draw import Drawn, Finish

_ENDS: dict[Finish | None, Shown | None] = {None: None, "end": "end", "stop": "stop",
                                            "length": "depth"}  # fmt: skip
ALTERNATIVES = 5
"""Candidates kept with each accepted token."""
FORCING = ("constraint", "healing")
"""Stages of the chain that drop what may not stand, whatever the knobs say."""
_SAME = 1e-6
"""Share by which the roundings of one probability differ."""


def mark(number: int) -> int:
    """What the tail of sample `number` begins with in the tree: below 0, as no token is."""
    return -1 - number


def added_text(steps: Sequence[Step], residue: bytes) -> bytes:
    """What these first tokens add to a story whose end they write again."""
    return b"".join(b"" if step.special else step.data for step in steps)[len(residue) :]


@dataclass(slots=True, eq=False)
class PlacedSample:
    """A continuation drawn by the sampler chain, as far as it is drawn."""

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
        return added_text(self.steps, self.residue)

    @property
    def logprob(self) -> float:
        """Joint, of the raw model."""
        return math.fsum(step.logprob for step in self.steps)

    @property
    def adding(self) -> Sequence[Step]:
        """The tokens that add text."""
        return adding(self.steps, self.residue)

    def take(self, drawn: Drawn) -> None:
        """Put a drawn token at the end."""
        before, id, mask = drawn.distribution, drawn.choice.id, drawn.mask
        logprob, permitted, rank = drawn.choice.logprob, before.permitted, 1
        if before.full is not None:
            free = before.full if mask is None else before.full[mask.allowed]
            permitted = float(np.exp(free, dtype=np.float64).sum()) if mask is not None else 1.0
            rank += int((free > before.full[id]).sum())
        else:
            rank += int((before.ids == id).argmax())
        token = drawn.token
        if mask is not None and permitted > 0:
            logprob = min(logprob - math.log(permitted), 0.0)
        self.steps.append(Step(id, token.data, logprob, rank, token.special, permitted))
        self.found.append(replace(before, full=None))
        self.arrivals.append(arrival_of(drawn.choice))
        self.finish = drawn.sample.finish

    def after(self, ids: Tail) -> PlacedSample | None:
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


def alternatives(before: Distribution, vocabulary: Vocabulary) -> tuple[Alternative, ...]:
    """The best candidates at a place, as the story keeps them: id, bytes, logprob."""
    ids, logprobs = before.ids[:ALTERNATIVES].tolist(), before.logprobs[:ALTERNATIVES].tolist()
    token = vocabulary.token
    return tuple((id, token(id).data, lp) for id, lp in zip(ids, logprobs, strict=True))


def arrival_of(choice: Choice) -> Arrival:
    """How a token came that the sampler chain drew."""
    ladder, left = choice.ladder, int(choice.ladder.kept.sum())
    way = "drawn"
    if left == 1:
        forced = [rung.p > 0 for rung in ladder.rungs if rung.stage in FORCING]
        allowed = ladder.p_base[forced[-1]] if forced else ladder.p_base
        first = allowed.max() <= math.exp(choice.logprob) * (1 + _SAME)
        way = "forced" if len(allowed) == 1 else "first choice" if first else "drawn"
    return Arrival(way, min(float(f"{choice.p:.6g}"), 1.0), left)


def find(samples: Sequence[PlacedSample], tail: Tail) -> PlacedSample | None:
    """The line that a row's tail is of; None where it is one of the search's."""
    if not tail or tail[0] >= 0:
        return None
    return next((one for one in samples if mark(one.number) == tail[0]), None)


def rows(samples: Sequence[PlacedSample]) -> tuple[Branch, ...]:
    """A row each, lines that came out equal in one; those with no text yet are left out."""
    shown: dict[object, list[PlacedSample]] = {}
    for sample in samples:
        if sample.steps:
            key = (sample.ids, sample.finish) if sample.finish is not None else sample.number
            shown.setdefault(key, []).append(sample)
    return tuple(map(_row, shown.values()))


def _row(equal: Sequence[PlacedSample]) -> Branch:
    sample = equal[0]
    numbers = ", ".join(str(sample.number + 1) for sample in equal)
    return Branch(
        tail=(mark(sample.number), *sample.ids),
        steps=tuple(sample.steps),
        data=sample.data,
        p=math.exp(sample.logprob),
        logprob=sample.logprob,
        finish=_ENDS.get(sample.finish, "open"),
        healed=healed(sample.residue, sample.data),
        sampled=f"{'sample' if len(equal) == 1 else 'samples'} {numbers}",
    )
