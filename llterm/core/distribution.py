"""Next-token distributions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]
Logprobs = NDArray[np.float32]
Bits = NDArray[np.bool_]


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
