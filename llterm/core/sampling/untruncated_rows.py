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
_LEAST = 0.5
"""Of a row's sum; else the row is looked at whole."""
_TIED = np.float32(-1e-4)
"""Logits nearer to the best than this may be as good as it, once they are rounded."""

_OF_GROUP = np.arange(GROUP)
"""Places of a group's numbers."""

Placed = list[tuple[int, float] | None]
"""Of each row the id that is drawn and its probability, right to 4e-5 of itself; None: not sure."""


def greedy(shifted: Floats, barred: Sequence[Integers], scratch: RowScratch) -> Placed:
    """Each row's best. `shifted`: logits less their row's best; `barred`: of each row the ids,
    ascending, that may not stand there."""
    flags = np.greater(shifted, _TIED, out=scratch.flags(shifted.shape))
    alone = np.count_nonzero(flags, axis=1) == 1
    return [
        (id, 1.0) if sure and not _holds(ids, id) else None
        for id, sure, ids in zip(flags.argmax(axis=1).tolist(), alone.tolist(), barred, strict=True)
    ]


def _holds(ascending: Integers, id: int) -> bool:
    place = int(ascending.searchsorted(id))
    return place < len(ascending) and int(ascending[place]) == id


def sampled(
    weights: Floats, barred: Sequence[Integers], temperatures: Reals, chances: Reals
) -> Placed:
    """One of each row, as `drawn_place` draws. `weights`, shape (rows, vocabulary size): e to the
    power of each logit below the best, over the row's temperature; those barred are made 0."""
    set_in_rows(weights, barred, 0)
    sums = sums_of_groups(weights)
    masses = np.cumsum(sums, axis=1)
    totals = masses[:, -1]
    # The best candidate's weight is 1: where it is barred, others may have underflowed.
    shares = GROUP_ERROR + error_share(math.log(weights.shape[1] / _LEAST), temperatures)
    targets, errors = chances * totals, shares * totals
    rows = np.arange(len(weights))
    groups = np.minimum((masses <= targets[:, None]).sum(axis=1), masses.shape[1] - 1)
    ids = np.minimum(groups[:, None] * GROUP + _OF_GROUP, weights.shape[1] - 1)
    # What was added up before each of the group, and after the last.
    ends = np.empty((len(rows), GROUP + 1))
    ends[:, 0] = masses[rows, groups] - sums[rows, groups]
    ends[:, 1:] = weights[rows[:, None], ids]
    own = ends[:, 1:].copy()
    np.cumsum(ends, axis=1, out=ends)
    places = np.minimum((ends[:, 1:] <= targets[:, None]).sum(axis=1), GROUP - 1)
    begin, end = ends[rows, places], ends[rows, places + 1]
    sure = (end - targets > errors) & (errors < targets - begin)
    sure &= (totals >= _LEAST) & (shares <= _WORST)
    p = own[rows, places] / totals
    each = zip(ids[rows, places].tolist(), p.tolist(), sure.tolist(), strict=True)
    return [(id, share) if certain else None for id, share, certain in each]
