"""Many rows drawn at once by chains that leave all candidates, or the best alone.

Neither needs a list of candidates: a number of chance is sought in sums by groups of ids. Where
rounding in float32 could decide between two, nothing is said: the row is to be looked at whole.
"""

from __future__ import annotations

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
from llterm.core.sampling.stage_plan import mass_error

_WORST = 2e-5
"""Where a row's sum may be wrong by more than this part of itself, it is looked at whole."""
_FEW = 6
"""Rows that are searched one by one."""
_LEAST = np.finfo(np.float64).tiny
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
    totals = masses[:, -1]
    targets = chances * totals
    search = _one_by_one if len(weights) <= _FEW else _together
    ids, ends, chosen = search(weights, sums, masses, targets)
    errors = mass_error(totals, size, temperatures) + GROUP_ERROR * totals
    # The best candidate's weight is 1: where it is barred, others may have underflowed.
    sure = (totals >= 0.5) & (errors <= _WORST * totals) & (ends - targets > errors)
    sure &= targets - (ends - chosen) > errors
    p = chosen / np.maximum(totals, _LEAST)
    return [
        (id, chance) if certain else None
        for id, chance, certain in zip(ids, p.tolist(), sure.tolist(), strict=True)
    ]


_Sought = tuple[list[int], Reals, Reals]
"""Of each row the id at which its sum comes to the target, what the sum is there, and the id's own
weight."""


def _together(weights: Floats, sums: Reals, masses: Reals, targets: Reals) -> _Sought:
    height, size = weights.shape
    rows = np.arange(height)
    groups = np.minimum((masses <= targets[:, None]).sum(axis=1), masses.shape[1] - 1)
    befores = masses[rows, groups] - sums[rows, groups]
    ids = groups[:, None] * GROUP + np.arange(GROUP)
    own = np.where(ids < size, weights[rows[:, None], np.minimum(ids, size - 1)], 0)
    inside = befores[:, None] + np.cumsum(own, axis=1, dtype=np.float64)
    places = np.minimum((inside <= targets[:, None]).sum(axis=1), GROUP - 1)
    ids_there = (groups * GROUP + places).tolist()
    return ids_there, inside[rows, places], own[rows, places].astype(np.float64)


def _one_by_one(weights: Floats, sums: Reals, masses: Reals, targets: Reals) -> _Sought:
    """The same: each call of NumPy takes as long as a group does here."""
    ids: list[int] = []
    ends: list[float] = []
    chosen: list[float] = []
    for row, target in enumerate(targets.tolist()):
        own_masses = masses[row]
        group = min(int(own_masses.searchsorted(target, "right")), len(own_masses) - 1)
        end, weight = float(own_masses[group] - sums[row, group]), 0.0
        id = group * GROUP
        for id, weight in enumerate(weights[row, id : id + GROUP].tolist(), id):
            end += weight
            if end > target:
                break
        ids.append(id)
        ends.append(end)
        chosen.append(weight)
    return ids, np.array(ends), np.array(chosen)
