"""What a model expected at each place of a text, beside what the reference expected there.

The figures of one place are those of `log_softmax` and `kl_divergence` in llama.cpp's
tools/perplexity/perplexity.cpp, in float64 where it has float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Reals
from llterm.core.mixing.logprob_rows import best_ids

Integers = NDArray[np.int64]

UNTOLD = -1
"""The id of a first choice that a server left out."""
LEAST = -16.0
"""Tokens to which the reference gives a logprob of no more than this do not count."""
BLOCK = 1 << 17
"""Numbers worked on at a time: small enough for a processor's cache, and for any vocabulary."""


@dataclass(frozen=True, slots=True, eq=False)
class ScoredTokens:
    """How a model saw n tokens of a text; arrays of shape (n,)."""

    logprob: Reals
    """Of the token that stands there."""
    rank: Integers
    """Of that token; 1 = the model's first choice, ties by id. 0 where it is not told."""
    choice: Integers
    """The model's first choice; the lowest id of equal ones. `UNTOLD` where it is not told."""
    choice_p: Reals
    """NaN where it is not told."""

    def __len__(self) -> int:
        return len(self.logprob)

    def __getitem__(self, part: slice) -> ScoredTokens:
        """Some of the places."""
        return ScoredTokens(
            self.logprob[part], self.rank[part], self.choice[part], self.choice_p[part]
        )


@dataclass(frozen=True, slots=True, eq=False)
class ComparedTokens:
    """A candidate at n places; arrays of shape (n,)."""

    seen: ScoredTokens
    kld: Reals
    """KL divergence from the reference in nats: Σ p·(ln p − ln q) over its tokens above `LEAST`.
    NaN where the row of either is not known whole."""


def log_softmax(logits: NDArray[np.floating[Any]]) -> Reals:
    """Logprobs, shape (n, size), from logits of that shape."""
    rows = np.asarray(logits, np.float64)
    rows = rows - rows.max(axis=1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return np.asarray(rows, np.float64)


def score_tokens(rows: Reals, tokens: Integers) -> ScoredTokens:
    """How a model with these logprobs, shape (n, size), sees the tokens, shape (n,)."""
    places = np.arange(len(tokens))
    own = rows[places, tokens]
    above = np.count_nonzero(rows > own[:, None], axis=1)
    level = np.count_nonzero(rows >= own[:, None], axis=1) - above
    tied = np.zeros_like(above)
    for n in np.flatnonzero(level > 1).tolist():
        tied[n] = np.count_nonzero(rows[n, : tokens[n]] == own[n])
    choice = rows.argmax(axis=1)
    return ScoredTokens(own, 1 + above + tied, choice, np.exp(rows[places, choice]))


def counted_p(base: Reals) -> Reals:
    """The reference's probabilities, shape (n, size); 0 where they do not count."""
    p = np.exp(base)
    p[base <= LEAST] = 0.0
    return p


def compare_rows(base: Reals, p: Reals, rows: Reals, tokens: Integers) -> ComparedTokens:
    """A candidate's logprobs beside the reference's, both of shape (n, size); `p`: see `counted_p`.

    Infinite where the candidate holds a token impossible that the reference counts.
    """
    with np.errstate(invalid="ignore"):  # Impossible for both: it does not count.
        apart = base - rows
    if not np.isfinite(apart).all():
        apart[p == 0.0] = 0.0
    return ComparedTokens(score_tokens(rows, tokens), np.einsum("ij,ij->i", p, apart))


def blocks(count: int, size: int) -> list[slice]:
    """Slices of `count` rows of `size` numbers, to be worked on one after the other."""
    step = max(BLOCK // size, 1)
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def top_tokens(row: Reals, count: int) -> list[tuple[int, float]]:
    """The most probable tokens of one row of logprobs, with their probabilities."""
    return [(int(id), math.exp(row[id])) for id in best_ids(row, np.arange(len(row)), count)]
