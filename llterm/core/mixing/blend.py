"""What several models say at one place, and what the mix makes of it."""

from __future__ import annotations

from dataclasses import dataclass

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
        unknown = 0.0 if self.exact else self.unknown
        return distribution_of(self.row, LISTED, mask, full=True, exact=self.exact, unknown=unknown)

    def giver(self, id: int) -> int | None:
        """Index of the model that a token comes from; None where the mix found it: it is no
        deciding model's first choice."""
        if len(self.speakers) == 1:
            return self.speakers[0]
        found = supporter(np.stack([self.voices[n].row for n in self.speakers]), id)
        return None if found is None else self.speakers[found]
