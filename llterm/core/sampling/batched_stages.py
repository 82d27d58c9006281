"""The stages of `stages.py` that run over the candidates of many rows at once.

Each says of which rows rounding cannot have decided what it does: the others are looked at one by
one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Bits, Reals
from llterm.core.sampling.candidates import LARGEST
from llterm.core.sampling.ragged_candidates import RaggedCandidates
from llterm.core.sampling.row_moments import RowMoments
from llterm.core.sampling.stage_plan import Knobs, StagePlan

_SUMS = 1e-12
"""By how much of itself a sum of float64 may be wrong, and more."""
_NEAR = 1e-9
"""What is nearer to a border than this part of it may be on either side."""
_LEAST_SHARE = 1e-3
"""Of the most entropy: the temperature of a row that has less may be too far off by rounding."""


@dataclass(frozen=True, slots=True, eq=False)
class Unseen:
    """What is known of the candidates that were not looked at; arrays of shape (rows,)."""

    most: Reals
    """None of a row's logits is above this."""
    best: Reals
    """Each row's largest logit, over `divisor`."""
    divisor: Reals
    mass: Reals | None = None
    """The sum of e to the power of their logits below `best`; only for top-p."""
    error: Reals | None = None
    """By how much that may be wrong."""
    moments: RowMoments | None = None
    """Of their logits times the divisor; only for top-n-sigma."""


Chances = Sequence[Callable[[], float]]
"""Where each row's numbers come from."""


def tamed(logits: Reals, row: NDArray[np.intp], sure: Bits) -> Reals:
    """Numbers that are none, or too large, made 0, and their rows unsure: a chain brings those that
    are too large back."""
    # A number that is none is neither.
    if logits.min(initial=0) >= -LARGEST and logits.max(initial=0) <= LARGEST:
        return logits
    tame = np.abs(logits) <= LARGEST
    sure[row[~tame]] = False
    return np.where(tame, logits, 0.0)


def after_stages(
    left: RaggedCandidates, plan: StagePlan, knobs: Knobs, unseen: Unseen, chances: Chances
) -> tuple[RaggedCandidates, Bits]:
    """What the stages that run together keep, and of which rows those seen tell it."""
    sure = np.ones(len(left.starts), np.bool_)
    for place, (name, _) in enumerate(plan.together):
        whole = unseen if not place else None
        match name:
            case "temperature":
                divided = left.logits / left.each(knobs.temperature)
                left = left.with_logits(tamed(divided, left.row, sure))
            case "dynamic":
                left = left.with_logits(tamed(_dynamic(left, knobs, sure), left.row, sure))
            case "xtc":
                left = left.only(_xtc(left, knobs, chances, sure), best=False)
            case "typical_p":
                left = left.only(_typical(left, knobs, sure), best=False)
            case "top_n_sigma":
                left = left.only(_near(left, knobs.sigma, sure, whole))
            case "min_p":
                left = left.only(_above(left, knobs.log_min_p, sure, whole))
            case "top_p":
                left = left.only(_likely(left, knobs.top_p, sure, whole))
            case _:
                limits = knobs.top_k if name == "top_k" else np.ones(len(sure))
                none = np.zeros(len(sure))
                keep, reached, _ = left.first(-left.below, np.ones(len(left.ids)), limits, none)
                if whole is not None:
                    sure &= reached
                left = left.only(keep)
        if whole is not None and name not in ("min_p", "top_n_sigma"):
            sure &= left.least(left.logits) > unseen.most
    return left, sure


def _above(left: RaggedCandidates, log_min_p: Reals, sure: Bits, unseen: Unseen | None) -> Bits:
    borders = left.largest(left.logits) + log_min_p
    if unseen is not None:
        sure &= borders > unseen.most
    return np.asarray(left.logits >= left.each(borders))


def _likely(left: RaggedCandidates, top_p: Reals, sure: Bits, unseen: Unseen | None) -> Bits:
    totals, errors = left.sums(left.weights), np.zeros(len(sure))
    if unseen is not None and unseen.mass is not None and unseen.error is not None:
        scales = np.exp(unseen.best - left.largest(left.logits))
        totals, errors = totals + unseen.mass * scales, unseen.error * scales
    known = (errors < totals) & (totals < np.inf)
    limits = np.where(known, top_p * totals, 1.0)
    slack = np.where(known, errors + _SUMS * totals, 0.0)
    keep, reached, certain = left.first(-left.below, left.weights, limits, slack)
    sure &= known & certain & reached
    return keep


def _near(left: RaggedCandidates, sigma: Reals, sure: Bits, unseen: Unseen | None) -> Bits:
    if unseen is not None and unseen.moments is not None:
        values = left.logits - left.each(unseen.best)
        spreads, errors = unseen.moments.spread_with(values, left.row, unseen.divisor)
        slack = sigma * errors + _NEAR * (1 + sigma * spreads)
    else:
        counts = left.counts
        means = left.sums(left.logits) / counts
        spreads = np.sqrt(left.sums((left.logits - left.each(means)) ** 2) / counts)
        slack = np.where(counts > 1, _NEAR * (1 + sigma * spreads), 0.0)
    borders = left.largest(left.logits) - sigma * spreads
    heights = left.logits - left.each(borders)
    sure[left.row[~(np.abs(heights) >= left.each(slack))]] = False
    if unseen is not None:
        sure &= borders - slack > unseen.most
    # Where that is no number all stay, and the row is unsure.
    return np.asarray(~(heights < 0))


def _entropies(left: RaggedCandidates) -> tuple[Reals, Reals]:
    """The natural logs of the sums of the rows' weights, and their entropies in nats."""
    totals = left.sums(left.weights)
    norms = np.log(totals)
    return norms, norms - left.sums(left.weights * left.below) / totals


def _typical(left: RaggedCandidates, knobs: Knobs, sure: Bits) -> Bits:
    norms, entropies = _entropies(left)
    depths = np.abs(left.each(norms - entropies) - left.below)
    totals = np.exp(norms)
    keep, _, certain = left.first(depths, left.weights, knobs.typical_p * totals, _SUMS * totals)
    sure &= certain
    # Which of two comes first may be a matter of rounding.
    deepest = left.largest(np.where(keep, depths, -np.inf))
    next_one = left.least(np.where(keep, np.inf, depths))
    sure &= next_one - deepest > _NEAR * (1 + deepest)
    return keep


def _xtc(left: RaggedCandidates, knobs: Knobs, chances: Chances, sure: Bits) -> Bits:
    several = left.counts > 1
    numbers = [chance() if more else 2.0 for chance, more in zip(chances, several, strict=True)]
    active = np.array(numbers) <= knobs.xtc_probability
    keep = np.ones(len(left.ids), np.bool_)
    if not active.any():
        return keep
    borders = knobs.xtc_threshold * left.sums(left.weights)
    own = np.flatnonzero(left.each(active) & (left.weights >= left.each(borders * (1 - _NEAR))))
    row = left.row[own]
    close = np.abs(left.weights[own] - borders[row]) <= _NEAR * borders[row]
    sure[row[close]] = False
    # Of those above the threshold only the least probable stays, of equal ones the last.
    order = np.lexsort((-left.logits[own], row))
    row = row[order]
    keep[own[order[:-1][row[1:] == row[:-1]]]] = False
    return keep


def _dynamic(left: RaggedCandidates, knobs: Knobs, sure: Bits) -> Reals:
    """Logits over temperatures that move with the entropy."""
    counts = left.counts
    shares = np.clip(_entropies(left)[1] / np.log(np.maximum(counts, 2)), 0.0, 1.0)
    temperatures = knobs.lowest + knobs.span * shares**knobs.exponent
    sure &= (counts < 2) | ((shares >= _LEAST_SHARE) & (temperatures >= _LEAST_SHARE))
    temperatures = np.where((counts < 2) | ~sure, 1.0, temperatures)
    return np.asarray(left.logits / left.each(temperatures))
