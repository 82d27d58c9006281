"""Pools: several probability distributions as one, by a formula that can be printed.

Weights are divided by their sum, so that models that agree are their pool. A negative weight takes
away what that model expects (contrastive); a plausibility cutoff then keeps what the others find
improbable from winning by that alone (Li et al. 2022, "Contrastive Decoding", section 3.3; with
weights 1+β and −β the logarithmic pool is that of O'Brien and Lewis 2023, "Contrastive Decoding
Improves Reasoning", section 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Reals
from llterm.errors import LltermError, UsageError

Kind = Literal["linear", "log"]

LEAST = 1e-9
"""What a negatively weighted model is taken to give at least: nothing is divided by 0."""


class EmptyPool(LltermError):
    """No token has a probability above 0 in the pool."""


@dataclass(frozen=True, slots=True)
class OpinionPool:
    """A way to make one distribution of several. Raises UsageError for weights without a sense."""

    weights: tuple[float, ...]
    """One a model, in any scale."""
    kind: Kind = "linear"
    plausible: float = 0.1
    """With a negative weight: share of the best token's probability, in the pool of the positively
    weighted models, that a token needs."""

    def __post_init__(self) -> None:
        if not math.isfinite(sum(map(abs, self.weights))):
            raise UsageError("A weight is not a number", "", "Weights are numbers such as 0.5.")
        if not 0.0 <= self.plausible <= 1.0:
            raise UsageError(
                f"The plausibility cutoff {self.plausible:g} is not in 0 to 1", "", "0.1 is usual."
            )
        if sum(self.weights) <= 1e-9 * sum(map(abs, self.weights)):
            raise UsageError(
                "The weights do not add up to more than 0",
                "They are divided by their sum, so that models that agree are their pool.",
                "Give the positive ones more, such as 1.5 against -0.5.",
            )

    @property
    def shares(self) -> tuple[float, ...]:
        """The weights divided by their sum."""
        total = math.fsum(self.weights)
        return tuple(weight / total for weight in self.weights)

    @property
    def contrastive(self) -> bool:
        return min(self.weights) < 0

    def pooled(self, logprobs: NDArray[np.floating[Any]]) -> Reals:
        """Normalised logprobs, shape (n,), from those of each model, shape (models, n).

        Equal to the last bit for any order of the models. Raises NothingLeft.
        """
        shares = np.array(self.shares)
        heard = shares != 0
        shares, voices = shares[heard], np.asarray(logprobs, np.float64)[heard]
        barred = ~self._plausible(shares, voices) if self.contrastive else np.zeros(1, np.bool_)
        if self.kind == "linear":
            p = np.where(barred, 0.0, np.maximum(_summed(shares[:, None] * np.exp(voices)), 0.0))
        else:
            # Before the best one is scaled to 1: beside a barred one the others may vanish.
            p = _raised(np.where(barred, -math.inf, _summed(_powers(shares, voices))))
        total = float(p.sum())
        if not total > 0.0:
            raise EmptyPool(
                "The pool leaves no token",
                "Nothing that one model allows is allowed by the others.",
                "Choose other weights, the linear pool, or a lower plausibility cutoff.",
            )
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(p / total), np.float64)

    def formula(self, names: Sequence[str]) -> str:
        """The pool in one line, `x` being a token."""
        named = [(n, w) for n, w in zip(names, self.shares, strict=True) if w]
        if self.kind == "linear":
            terms = " + ".join(f"{w:.4g}·{n}(x)" for n, w in named).replace("+ -", "- ")
            equation = f"p(x) ∝ max(0, {terms})" if self.contrastive else f"p(x) = {terms}"
        else:
            equation = "p(x) ∝ " + " · ".join(f"{n}(x)^{w:.4g}" for n, w in named)
        if not self.contrastive:
            return equation
        positive = [(n, w) for n, w in zip(names, self.weights, strict=True) if w > 0]
        if len(positive) == 1:
            best = positive[0][0]
            return f"{equation}, where {best}(x) ≥ {self.plausible:.4g}·max {best}"
        of = OpinionPool(tuple(w for _, w in positive), self.kind).formula([n for n, _ in positive])
        return (
            f"{equation}, where q(x) ≥ {self.plausible:.4g}·max q and {of.replace('p(x)', 'q(x)')}"
        )

    def _plausible(self, shares: Reals, voices: Reals) -> NDArray[np.bool_]:
        """Which tokens the positively weighted models find probable enough, shape (n,)."""
        trusted = shares > 0
        if self.kind == "linear":
            pooled = _summed(shares[trusted, None] * np.exp(voices[trusted]))
        else:
            mean = shares[trusted] / shares[trusted].sum()
            pooled = _raised(_summed(_powers(mean, voices[trusted])))
        return np.asarray(pooled >= self.plausible * pooled.max(), np.bool_)


def _powers(shares: Reals, voices: Reals) -> Reals:
    """w·ln p of every model, shape (models, n)."""
    floored = np.where(shares[:, None] < 0, np.maximum(voices, math.log(LEAST)), voices)
    return np.asarray(shares[:, None] * floored, np.float64)


def _raised(logs: Reals) -> Reals:
    """exp, scaled so that the largest is 1; all 0 where none is possible."""
    best = float(logs.max())
    return np.exp(logs - best) if best > -math.inf else np.zeros_like(logs)


def _summed(terms: Reals) -> Reals:
    """The sum over the models. Rounding must not depend on their order: two terms commute, more
    are added from the least up."""
    return np.asarray((terms if len(terms) < 3 else np.sort(terms, axis=0)).sum(axis=0), np.float64)
