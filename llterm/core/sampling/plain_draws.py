"""Many rows drawn at once by chains that leave all candidates, or the best alone.

Neither needs a list of candidates: a number of chance is sought in sums by groups of ids. Where
rounding in float32 could decide between two, nothing is said: the row is to be looked at whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from llterm.core.distribution import Reals
from llterm.core.logit_rows import (
    GROUP,
    GROUP_ERROR,
    Floats,
    Integers,
    RowScratch,
    set_in_rows,
    sums_of_groups,
)
from llterm.core.sampling.stage_plan import error_share

_WORST = 2e-5
"""Where a row's sum may be wrong by more than this part of itself, it is looked at whole."""
_FEW = 6
"""Rows that are searched one by one."""
_LEAST = 0.5
"""Of a row's sum; else the row is looked at whole."""
_TIED = np.float32(-1e-4)
"""Logits nearer to the best than this may be as good as it, once they are rounded."""

Placed = list[tuple[int, float] | None]
"""Of each row the id that is drawn and its probability, right to 4e-5 of itself; None: not sure."""


def best_of_all(shifted: Floats, barred: Sequence[Integers], scratch: RowScratch) -> Placed:
    """Each row's best. `shifted`: logits less their row's best; `barred`: of each row the ids,
    ascending, that may not stand there."""
    flags = np.greater(shifted, _TIED, out=scratch.flags(shifted.shape))
    alone = flags.sum(axis=1) == 1
    return [
        (id, 1.0) if sure and not _holds(ids, id) else None
        for id, sure, ids in zip(flags.argmax(axis=1).tolist(), alone, barred, strict=True)
    ]


def _holds(ascending: Integers, id: int) -> bool:
    place = int(ascending.searchsorted(id))
    return place < len(ascending) and int(ascending[place]) == id


def drawn_of_all(
    weights: Floats, barred: Sequence[Integers], temperatures: Reals, chances: Reals
) -> Placed:
    """One of each row, as `drawn_place` draws. `weights`, shape (rows, vocabulary size): e to the
    power of each logit below the best, over the row's temperature; those barred are made 0."""
    size = weights.shape[1]
    set_in_rows(weights, barred, 0)
    sums = sums_of_groups(weights)
    masses = np.cumsum(sums, axis=1)
    # The best candidate's weight is 1: where it is barred, others may have underflowed.
    shares = GROUP_ERROR + error_share(math.log(size / _LEAST), temperatures)
    if len(weights) <= _FEW:
        each = zip(weights, sums, masses, shares.tolist(), chances.tolist(), strict=True)
        return [_drawn_of_row(*row) for row in each]
    totals, rows = masses[:, -1], np.arange(len(weights))
    targets, errors = chances * totals, shares * totals
    groups = np.minimum((masses <= targets[:, None]).sum(axis=1), masses.shape[1] - 1)
    befores = masses[rows, groups] - sums[rows, groups]
    ids = groups[:, None] * GROUP + np.arange(GROUP)
    own = np.where(ids < size, weights[rows[:, None], np.minimum(ids, size - 1)], 0)
    inside = befores[:, None] + np.cumsum(own, axis=1, dtype=np.float64)
    places = np.minimum((inside <= targets[:, None]).sum(axis=1), GROUP - 1)
    ends, chosen = inside[rows, places], own[rows, places].astype(np.float64)
    sure = (totals >= _LEAST) & (shares <= _WORST) & (ends - targets > errors)
    sure &= targets - (ends - chosen) > errors
    with np.errstate(divide="ignore", invalid="ignore"):
        p = chosen / totals
    drawn = zip((groups * GROUP + places).tolist(), p.tolist(), sure.tolist(), strict=True)
    return [(id, chance) if certain else None for id, chance, certain in drawn]


def _drawn_of_row(
    weights: Floats, sums: Reals, masses: Reals, share: float, chance: float
) -> tuple[int, float] | None:
    """The same of one row: a call of NumPy takes as long as going through a group. `share`: by how
    much of itself a sum may be wrong."""
    total = float(masses[-1])
    target, error = chance * total, share * total
    group = min(int(masses.searchsorted(target, "right")), len(masses) - 1)
    end = float(masses[group] - sums[group])
    for place, weight in enumerate(weights[group * GROUP : (group + 1) * GROUP].tolist()):
        begin, end = end, end + weight
        if end > target:
            sure = end - target > error < target - begin
            sure = sure and total >= _LEAST and share <= _WORST
            return (group * GROUP + place, weight / total) if sure else None
    return None
