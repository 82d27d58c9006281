"""Whether it matters which way is taken: how different the futures of several candidates are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Logprobs
from llterm.core.scored_text import Candidate, TokenReading

WAYS = 4
"""Most candidates whose futures are compared."""
LEAST = 0.02
"""Probability from which a candidate counts as a way."""


@dataclass(frozen=True, slots=True)
class Futures:
    """Candidates of one place, and how far apart the distributions after them are."""

    ways: tuple[Candidate, ...]
    divergence: float
    """Bits: 0 where it makes no difference, at most `most`."""
    most: float
    """Bits: the divergence of futures that share no token, the entropy of the ways themselves."""


def ways(reading: TokenReading) -> tuple[Candidate, ...]:
    """The candidates worth comparing: the likeliest two, and others that are likely enough."""
    listed = [candidate for candidate in reading.top[:WAYS] if not candidate.token.end]
    return tuple(
        candidate
        for place, candidate in enumerate(listed)
        if place < 2 or candidate.logprob >= np.log(LEAST)
    )


def futures(candidates: Sequence[Candidate], after: Sequence[Logprobs]) -> Futures:
    """Compare what may come after each candidate; `after` has whole vocabularies, shape (V,) each.

    The divergence is Jensen and Shannon's, weighted by the candidates' probabilities:
    H(Σ wᵢPᵢ) − Σ wᵢH(Pᵢ) (J. Lin, 1991, "Divergence measures based on the Shannon entropy").
    """
    weights = np.exp([candidate.logprob for candidate in candidates])
    weights /= weights.sum()
    each = np.exp(np.asarray(after, np.float64))
    each /= each.sum(axis=1, keepdims=True)
    apart = _bits(weights @ each) - sum(
        weight * _bits(candidate) for weight, candidate in zip(weights, each, strict=True)
    )
    return Futures(tuple(candidates), max(float(apart), 0.0), _bits(weights))


def _bits(p: NDArray[np.float64]) -> float:
    """Entropy in bits."""
    held = p[p > 0]
    return float(-(held * np.log2(held)).sum())
