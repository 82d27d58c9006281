"""What chains that keep only the best leave of many rows of logits, found for all rows at once.

One comparison over a block finds those candidates of each row that its chain can keep: those not
far below the best, and the few ids that a bias or a penalty changes. The stages run over these. A
row for which they do not tell what the chain keeps of all is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Bits, Reals
from llterm.core.logit_rows import (
    GROUP_ERROR,
    Floats,
    Integers,
    RowScratch,
    floors_of_rows,
    set_in_rows,
    sums_of_groups,
)
from llterm.core.sampling.batched_stages import Unseen, after_stages, tamed
from llterm.core.sampling.drawn_rows import BlockFacts
from llterm.core.sampling.dry import dry_penalties
from llterm.core.sampling.ragged_candidates import RaggedCandidates
from llterm.core.sampling.row_moments import RowMoments
from llterm.core.sampling.sampler_chain import Chain, Situation
from llterm.core.sampling.stage_plan import Knobs, StagePlan, mass_error
from llterm.core.sampling.token_counts import TokenCounts

GUESSES = (8.0, 1.0, 1 / 32)
"""For top-p: how much rarer than this candidates must be to have less than 1 - top_p together.
Those rarer than the first nearly always have, those rarer than the next do, and those rarer than
the last are so few that rounding of their sum is no matter."""
_SPARE = 2.0
"""Nats by which penalties are expected to lower a best candidate."""
_SLACK = 1e-3
"""Nats by which a floor lies lower than need be: float32 rounds."""


class TruncatedRow(NamedTuple):
    """A row of which only the best candidates are kept."""

    chain: Chain
    at: Situation
    dropped: Integers
    """The ids, ascending, that may not stand there."""
    chance: Callable[[], float]
    """Where its numbers come from."""
    counted: TokenCounts | None = None
    """The tokens that are penalised, where they are counted already."""


def truncated(
    facts: BlockFacts, rows: Sequence[TruncatedRow], guess: float, scratch: RowScratch
) -> tuple[Integers, RaggedCandidates]:
    """What the stages that run together leave of rows whose plans name the same ones.

    Returns the places of those rows, ascending, of which it is sure, and their candidates.
    """
    height, size = facts.shifted.shape
    plan = rows[0].chain.plan
    knobs = Knobs.of([row.chain.plan for row in rows])
    powers = _tempered(facts, knobs, scratch) if plan.bound == "top_p" else None
    moments = None
    if plan.bound == "top_n_sigma":
        with np.errstate(all="ignore"):
            moments = RowMoments.of(facts.shifted, scratch)
            floors = _below_spread(moments, plan, knobs)
    else:
        floors = _floors(facts, rows, knobs, guess, powers, scratch)
    flags = np.greater_equal(facts.shifted, floors[:, None], out=scratch.flags(facts.shifted.shape))
    changes = _changes(rows, size)
    every, shifted = flags.reshape(-1), facts.shifted.reshape(-1)
    if not np.isfinite(floors).all():
        flags &= np.isfinite(facts.shifted)
    for keys, _ in changes.values():
        every[keys] = np.isfinite(shifted[keys])
    dropped = [row.dropped for row in rows]
    set_in_rows(flags, dropped, False)
    flat = scratch.places(len(every))
    bounds = np.searchsorted(flat, np.arange(height + 1) * size)
    counts = bounds[1:] - bounds[:-1]
    if not counts.all():
        places = np.flatnonzero(counts)
        if not len(places):
            return places, RaggedCandidates(places, places, np.empty(0), places)
        own = [rows[place] for place in places.tolist()]
        known, left = truncated(facts.of(places.tolist()), own, guess, scratch)
        return places[known], left
    row = np.arange(height).repeat(counts)
    ids = flat - (np.arange(height) * size).repeat(counts)
    changes = _placed(changes, flat, every, scratch)
    seen = RaggedCandidates(row, ids, facts.logits(counts, flat), bounds[:-1], counts)
    unseen = _unseen(facts, floors, knobs, powers, flat, dropped)
    with np.errstate(all="ignore"):
        if moments is not None:
            left_out = moments.without(facts.shifted, flat, row, dropped)
            unseen = replace(unseen, moments=left_out)
        left, sure = _changed(seen, plan, knobs, changes)
        left, told = after_stages(left, plan, knobs, unseen, [row.chance for row in rows])
    sure &= told
    return np.flatnonzero(sure), left.of_rows(sure)


def _tempered(facts: BlockFacts, knobs: Knobs, scratch: RowScratch) -> Floats:
    """e to the power of logits below their row's best one, over the temperature."""
    powers = scratch.floats("powers", facts.shifted.shape)
    inverse = (1 / knobs.divisor).astype(np.float32)
    np.multiply(facts.shifted, inverse[:, None], out=powers)
    np.exp(powers, out=powers)
    return powers


def _floors(
    facts: BlockFacts,
    rows: Sequence[TruncatedRow],
    knobs: Knobs,
    guess: float,
    powers: Floats | None,
    scratch: RowScratch,
) -> Floats:
    """How far below its best a row's candidates are looked at, shape (rows,); none is above 0."""
    if powers is not None:
        rare = (1 - knobs.top_p) / facts.shifted.shape[1] * sums_of_groups(powers).sum(axis=1)
        depths: Reals = np.log(np.minimum(guess * rare, 1.0))
    elif rows[0].chain.plan.bound == "min_p":
        depths = knobs.log_min_p
    else:
        floors = np.empty(len(rows), np.float32)
        looked = [row.chain.plan.looked_at for row in rows]
        for count in set(looked):
            own = [place for place, each in enumerate(looked) if each == count]
            floors[own] = floors_of_rows(facts.of(own).shifted, count, scratch)
        return floors
    lowest = depths * knobs.divisor - _SLACK * (1 + knobs.divisor)
    return np.asarray(lowest, np.float32)


def _below_spread(moments: RowMoments, plan: StagePlan, knobs: Knobs) -> Floats:
    """The same for top-n-sigma: single candidates may change it, and which is the best."""
    changes = any(name != "temperature" for name, _ in plan.single)
    spare = _SPARE * changes + _SLACK
    return np.asarray(-knobs.sigma * moments.spread - spare, np.float32)


Changes = dict[str, tuple[NDArray[np.integer[Any]], Reals]]
"""By stage: places among all of the block's logits, and a number for each."""


def _changes(rows: Sequence[TruncatedRow], size: int) -> Changes:
    """What stages do to single ids."""
    names = [name for name, _ in rows[0].chain.plan.single]
    changes: Changes = {}
    if rows[0].chain.sampling.ideal_length:
        changes["ideal length"] = _keyed(size, [row.chain.pull(row.at) for row in rows])
    if "logit_bias" in names:
        changes["logit_bias"] = _keyed(size, [row.chain.biases for row in rows])
    if "dry" in names:
        changes["dry"] = _keyed(size, [_of_dry(row) for row in rows])
    if "penalties" in names:
        changes["penalties"] = _keyed(size, [_penalised(row) for row in rows])
    return changes


def _penalised(row: TruncatedRow) -> tuple[Integers, Reals]:
    """The tokens that are, and how often each stands there."""
    counted = row.counted
    if counted is None:
        counted = TokenCounts(row.at.context, row.chain.settings.penalty_last_n)
    return counted.ids, counted.times


def _keyed(size: int, values: Sequence[tuple[Integers, Reals]]) -> tuple[Integers, Reals]:
    keys = np.concatenate([ids for ids, _ in values])
    keys += (np.arange(len(values)) * size).repeat([len(ids) for ids, _ in values])
    return keys, np.concatenate([numbers for _, numbers in values])


def _of_dry(row: TruncatedRow) -> tuple[Integers, Reals]:
    penalties = dry_penalties(row.chain.settings, row.at.context, row.chain.breakers(row.at))
    ids = sorted(penalties)
    return np.array(ids, np.int64), np.array([penalties[id] for id in ids], np.float64)


def _placed(changes: Changes, flat: NDArray[np.intp], seen: Bits, scratch: RowScratch) -> Changes:
    """The same by place among the candidates seen; less those that are not."""
    if not changes:
        return changes
    places = scratch.integers(len(seen))
    places[flat] = np.arange(len(flat), dtype=np.int32)
    placed: Changes = {}
    for name, (keys, values) in changes.items():
        own = seen[keys]
        placed[name] = places[keys[own]], values[own]
    return placed


def _unseen(
    facts: BlockFacts,
    floors: Floats,
    knobs: Knobs,
    powers: Floats | None,
    seen: NDArray[np.intp],
    dropped: Sequence[Integers],
) -> Unseen:
    """`powers` are used up."""
    highest = (floors - facts.norms).astype(np.float32).astype(np.float64)
    most = (highest + (facts.best + facts.norms)) / knobs.divisor
    best = facts.best / knobs.divisor
    if powers is None:
        return Unseen(most, best, knobs.divisor)
    powers.reshape(-1)[seen] = 0
    set_in_rows(powers, dropped, 0)
    mass = sums_of_groups(powers).sum(axis=1)
    error = mass_error(mass, powers.shape[1], knobs.divisor) + GROUP_ERROR * mass
    return Unseen(most, best, knobs.divisor, mass, error)


def _changed(
    seen: RaggedCandidates,
    plan: StagePlan,
    knobs: Knobs,
    changes: Changes,
) -> tuple[RaggedCandidates, Bits]:
    """The candidates after the stages that look at each for itself, and whether the numbers of a
    row are as a chain has them: it brings those that are too large back."""
    logits, sure = seen.logits, np.ones(len(seen.starts), np.bool_)
    for name in ("ideal length", *(name for name, _ in plan.single)):
        if name == "temperature":
            logits = tamed(logits / seen.each(knobs.divisor), seen.row, sure)
        elif name in changes:
            places, values = changes[name]
            row = seen.row[places]
            changed = _moved(name, logits[places], values, row, knobs)
            logits[places] = tamed(changed, row, sure)
    return seen.with_logits(logits), sure


def _moved(name: str, logits: Reals, values: Reals, row: NDArray[np.intp], knobs: Knobs) -> Reals:
    """What a stage makes of single candidates. See `stages.py`."""
    if name == "dry":
        return logits - values
    if name != "penalties":
        return logits + values
    repeat = knobs.repeat[row]
    repeated = np.where(logits <= 0, logits * repeat, logits / repeat)
    return np.asarray(repeated - (values * knobs.frequency[row] + knobs.presence[row]))
