"""Many rows drawn at once by chains that leave all candidates, or the best alone.

Neither needs a list of candidates: a number of chance is sought in sums by groups of ids. Where
rounding in float32 could decide between two, nothing is said: the row is to be looked at whole.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Reals
from llterm.core.logit_rows import Floats, Integers, RowScratch
from llterm.core.sampling.stage_plan import mass_error

_GROUP = 64
_SUMS = 2.0**-20
"""By how much a sum of a group in float32 may be wrong, of itself."""
_WORST = 2e-5
"""Where a row's sum may be wrong by more than this part of itself, it is looked at whole."""
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
    height, size = weights.shape
    for ids in {id(each): each for each in barred}.values():
        same = [row for row, each in enumerate(barred) if each is ids]
        if len(same) == height:
            weights[:, ids] = 0
        else:
            weights[np.array(same)[:, None], ids] = 0
    whole = size - size % _GROUP
    sums = np.zeros((height, whole // _GROUP + 1))
    sums[:, :-1] = weights[:, :whole].reshape(height, -1, _GROUP).sum(axis=2)
    sums[:, -1] = weights[:, whole:].sum(axis=1)
    masses = np.cumsum(sums, axis=1)
    totals, rows = masses[:, -1], np.arange(height)
    targets = chances * totals
    groups = np.minimum((masses <= targets[:, None]).sum(axis=1), masses.shape[1] - 1)
    befores = masses[rows, groups] - sums[rows, groups]
    ids = groups[:, None] * _GROUP + np.arange(_GROUP)
    own = np.where(ids < size, weights[rows[:, None], np.minimum(ids, size - 1)], 0)
    inside = befores[:, None] + np.cumsum(own, axis=1, dtype=np.float64)
    places = np.minimum((inside <= targets[:, None]).sum(axis=1), _GROUP - 1)
    ends, chosen = inside[rows, places], own[rows, places].astype(np.float64)
    errors = _errors(totals, size, temperatures)
    # The best candidate's weight is 1: where it is barred, others may have underflowed.
    sure = (totals >= 0.5) & (errors <= _WORST * totals) & (ends - targets > errors)
    sure &= targets - (ends - chosen) > errors
    with np.errstate(divide="ignore", invalid="ignore"):
        p = chosen / totals
    drawn = zip((groups * _GROUP + places).tolist(), p.tolist(), sure.tolist(), strict=True)
    return [(id, chance) if certain else None for id, chance, certain in drawn]


def _errors(totals: Reals, size: int, temperatures: Reals) -> NDArray[np.float64]:
    parts = {each: mass_error(1.0, size, each) + _SUMS for each in set(temperatures.tolist())}
    return np.asarray(totals * np.array([parts[each] for each in temperatures.tolist()]))
