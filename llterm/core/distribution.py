"""Next-token distributions, and which tokens may stand at a place at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llterm.core.tokens import Tail

Ids = NDArray[np.int32]
Logprobs = NDArray[np.float32]
Bits = NDArray[np.bool_]
Reals = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """Which token ids may stand at a position (healing, a constraint, a ban)."""

    allowed: Bits
    """Shape (vocabulary size,); True where the id may stand."""


@dataclass(frozen=True, slots=True, eq=False)
class Distribution:
    """What a model says may come next.

    `ids` and `logprobs` (natural logs, shape (k,)) hold the most probable candidates in descending
    order, ties by ascending id: the top `keep` of the whole vocabulary and, under a mask, the top
    `keep` of the allowed ids too. Logprobs are always those of the raw model.
    """

    ids: Ids
    logprobs: Logprobs
    rest: float
    """Probability mass of the ids that are not listed, 0 to 1."""
    permitted: float
    """Raw mass of the ids the mask allows; 1.0 without a mask. Not known: the mass listed."""
    entropy: tuple[float, float]
    """Lower and upper bound in bits; equal where the whole vocabulary was seen."""
    exact: bool
    """Asking again could list every candidate; otherwise these are all that a server tells."""
    certain: bool = True
    """The first of `ids` is the model's first choice; otherwise a server may have left it out."""
    full: Logprobs | None = None
    """Every id's logprob, shape (vocabulary size,), when the query asked for it."""
    log_z: float | None = None
    """The natural log of the sum of the model's exponentiated logits: a logprob and this make the
    logit. None where the source does not tell logits."""
    varentropy: float | None = None
    """Variance of the surprisal, in bits²; None where it was not asked for or cannot be known."""


class Constrained(Protocol):
    """What a constraint is to a search: which tokens may follow those written since an anchor."""

    @property
    def texts(self) -> tuple[bytes, ...]:
        """All that may be written, where these are a few texts; else empty."""

    def mask(self, tail: Tail) -> Mask:
        """Which ids may follow these. At a dead end: none."""


@dataclass(frozen=True, slots=True)
class ConstraintState:
    """A constraint under which some tokens have been accepted already."""

    constraint: Constrained
    written: Tail
    text: bytes
    """Their bytes."""

    @property
    def texts(self) -> tuple[bytes, ...]:
        size = len(self.text)
        return tuple(one[size:] for one in self.constraint.texts if one.startswith(self.text))

    def mask(self, tail: Tail) -> Mask:
        return self.constraint.mask(self.written + tail)
