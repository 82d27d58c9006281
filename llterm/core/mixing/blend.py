"""What several models say at one place, and what the mix makes of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from llterm.core.distribution import Distribution, Ids, Mask, Reals
from llterm.core.mixing.logprob_rows import distribution_of
from llterm.core.mixing.mix_recipe import supporter

LISTED = 64
"""Candidates of a blend's distribution."""


@dataclass(frozen=True, slots=True, eq=False)
class MemberDistribution:
    """One model's distribution over the mix's alphabet."""

    row: Reals
    """Logprobs, shape (n,)."""
    exact: bool = True
    """The model's whole vocabulary was known; otherwise only a server's top candidates."""
    unknown: float = 0.0
    """Mass that is an estimate: not listed by a server, or of paths that were dropped."""
    listed: Ids | None = None
    """Of a model that is not exact: the ids whose logprobs it told."""
    candidates: Ids | None = None
    """Of a model whose vocabulary is told token by token: the ids of which it says anything at all.
    The others' logprobs are estimates, and may stand for tokens that nobody can name."""
    beyond: float = -math.inf
    """The estimate of an id that is not in the row."""

    def as_long_as(self, size: int) -> MemberDistribution:
        """With a row of this many ids at least."""
        short = size - len(self.row)
        if short <= 0:
            return self
        return replace(self, row=np.pad(self.row, (0, short), constant_values=self.beyond))

    def tells(self, id: int) -> bool:
        """Whether an id's logprob is the model's own, not an estimate."""
        return self.exact or (self.listed is not None and id in self.listed)


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """The mix's distribution at one place, and each model's own."""

    row: Reals
    """The mix's logprobs, shape (n,)."""
    voices: tuple[MemberDistribution, ...]
    """By model, in the mix's order."""
    speakers: tuple[int, ...]
    """Indices of the models that decided."""
    whole: bool = True
    """Every id is a token that is known; otherwise only the possible ones are."""

    @property
    def exact(self) -> bool:
        return all(self.voices[index].exact for index in self.speakers)

    def tells(self, id: int) -> bool:
        """Whether an id's logprob is no estimate."""
        alone = len(self.speakers) == 1 and self.voices[self.speakers[0]].tells(id)
        return alone or self.exact

    @property
    def unknown(self) -> float:
        """The most that is unknown of any model that decided."""
        return max(self.voices[index].unknown for index in self.speakers)

    def distribution(self, mask: Mask | None = None) -> Distribution:
        """The mix's, with every id."""
        return self.listing(LISTED, mask, full=True)

    def listing(self, keep: int, mask: Mask | None = None, *, full: bool = False) -> Distribution:
        """The mix's, with its best `keep` candidates; `full`: with every id that can be named."""
        unknown = 0.0 if self.exact else self.unknown
        keep = len(self.row) if full and not self.whole else keep
        return distribution_of(
            self.row,
            keep,
            mask,
            full=full and self.whole,
            exact=self.exact,
            unknown=unknown,
        )

    def giver(self, id: int) -> int | None:
        """Index of the model that a token comes from; None where the mix found it: it is no
        deciding model's first choice."""
        if len(self.speakers) == 1:
            return self.speakers[0]
        found = supporter(np.stack([self.voices[n].row for n in self.speakers]), id)
        return None if found is None else self.speakers[found]


def named(row: Reals, heard: Sequence[MemberDistribution]) -> Reals:
    """A mix's row less what nobody who decided can name: where all of them list candidates only,
    what is none of them has no probability but an estimate."""
    listed = [one.candidates for one in heard if one.candidates is not None]
    if len(listed) < len(heard):
        return row
    kept = np.full(len(row), -np.inf)
    for ids in listed:
        kept[ids] = row[ids]
    return kept
