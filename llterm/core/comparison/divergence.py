"""What a model expected at each place of a text, beside what the reference expected there.

The figures of one place are those of `log_softmax` and `kl_divergence` in llama.cpp's
tools/perplexity/perplexity.cpp: numbers of single tokens in float32, sums in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llterm.core.distribution import Reals
from llterm.core.logit_rows import (
    Floats,
    Integers,
    Numbers,
    RowScratch,
    best_ids_of_rows,
    exponentials,
    ranks,
)

UNTOLD = -1
"""The id of a first choice that a server left out."""
LEAST = -16.0
"""Tokens to which the reference gives a logprob of no more than this do not count."""


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


@dataclass(frozen=True, slots=True, eq=False)
class SeenRows:
    """Whole rows of n places, and how the model that they are of saw the tokens there.

    A logprob is a number of `rows` less the place's number of `norms`. The numbers of rows lie near
    0 where it matters, so that float32 keeps their differences.
    """

    rows: Numbers
    """Shape (n, size)."""
    norms: Reals
    """Shape (n,)."""
    powers: Floats
    """e to the power of `rows`, as far as they were needed; else of no account."""
    totals: Reals
    """e to the power of `norms`."""
    tokens: ScoredTokens

    def top(self, place: int, count: int, scratch: RowScratch) -> tuple[tuple[int, float], ...]:
        """The most probable tokens of one place, with their probabilities."""
        row, norm = self.rows[place : place + 1], self.norms[place]
        ids = best_ids_of_rows(row, count, scratch)[0]
        p = np.exp(row[0, ids].astype(np.float64) - norm)
        return tuple(zip(ids.tolist(), p.tolist(), strict=True))


def log_softmax(logits: Numbers) -> Reals:
    """Logprobs, shape (n, size), from logits of that shape, in float64 throughout."""
    rows = np.asarray(logits, np.float64)
    rows = rows - rows.max(axis=1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    return np.asarray(rows, np.float64)


def see_logits(logits: Numbers, tokens: Integers, scratch: RowScratch) -> SeenRows:
    """How a model with these logits, shape (n, size), sees the tokens, shape (n,).

    The rows stand in the scratch until it is used again.
    """
    choice, best = _best(logits)
    rows, powers, totals = exponentials(logits, best, scratch)
    norms = np.log(totals)
    own = logits[np.arange(len(tokens)), tokens].astype(np.float64) - best - norms
    seen = ScoredTokens(own, ranks(logits, tokens, scratch), choice, 1.0 / totals)
    return SeenRows(rows, norms, powers, totals, seen)


def see_logprobs(logprobs: Numbers, tokens: Integers, scratch: RowScratch) -> SeenRows:
    """The same of logprobs, which count as they are."""
    choice, best = _best(logprobs)
    powers = np.exp(logprobs, out=scratch.floats("powers", logprobs.shape))
    own = logprobs[np.arange(len(tokens)), tokens].astype(np.float64)
    sure = np.exp(best.astype(np.float64))
    seen = ScoredTokens(own, ranks(logprobs, tokens, scratch), choice, sure)
    return SeenRows(logprobs, np.zeros(len(tokens)), powers, np.ones(len(tokens)), seen)


def _best(rows: Numbers) -> tuple[Integers, Numbers]:
    """The lowest id of a largest number of each row, and that number."""
    choice = rows.argmax(axis=1)
    return choice, rows[np.arange(len(rows)), choice]


@dataclass(frozen=True, slots=True, eq=False)
class CountedMass:
    """What the reference counts of a block: probabilities of its tokens above `LEAST`."""

    p: Floats
    """Shape (n, size), up to a constant a row; 0 where they do not count."""
    sums: Reals
    """Of each row."""


def counted_mass(base: SeenRows, scratch: RowScratch) -> CountedMass:
    """Of the reference's rows, whose `powers` are used up."""
    borders = (base.norms + LEAST).astype(np.float32)
    counts = np.greater(base.rows, borders[:, None], out=scratch.flags(base.rows.shape))
    p = np.multiply(base.powers, counts, out=base.powers)
    return CountedMass(p, p.sum(axis=1, dtype=np.float64))


def divergence(base: SeenRows, counted: CountedMass, seen: SeenRows) -> Reals:
    """KL divergence from the reference in nats, shape (n,): Σ p·(ln p − ln q).

    Infinite where the candidate holds a token impossible that the reference counts. The
    candidate's `powers` are used up.
    """
    apart = seen.powers
    with np.errstate(invalid="ignore"):  # Impossible for both: it does not count.
        np.subtract(base.rows, seen.rows, out=apart)
        np.multiply(apart, counted.p, out=apart)
    sums = apart.sum(axis=1, dtype=np.float64)
    if np.isnan(sums).any():
        apart[counted.p == 0.0] = 0.0
        sums = apart.sum(axis=1, dtype=np.float64)
    return np.asarray((sums + (seen.norms - base.norms) * counted.sums) / base.totals, np.float64)
