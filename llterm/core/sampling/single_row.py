"""A token drawn of one row by itself: what its chain makes of all candidates, or of a few."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from llterm.core.distribution import Ids, Reals
from llterm.core.logit_rows import Integers
from llterm.core.sampling.candidates import Candidates, NoCandidateLeft, some_left
from llterm.core.sampling.drawn_rows import BlockFacts, RowToDraw
from llterm.core.sampling.ladder import drawn_place
from llterm.core.sampling.random_generators import RandomGenerator
from llterm.core.sampling.stage_types import Stage, log_softmax

_FEW = 512
"""Candidates whose probabilities are summed one after the other; of more, by groups first."""
_GROUP = 64

Drawn = tuple[int, float, tuple[tuple[int, float], ...]]
"""Id, probability, and the candidates that the chain left, where they are to be told."""


def rest_of_chain(
    candidates: Candidates,
    row: RowToDraw,
    chance: RandomGenerator,
    stages: Sequence[tuple[str, Stage]],
) -> Candidates:
    """What stages of its chain leave of a row's candidates. Raises NoCandidateLeft."""
    position = row.chain.position(row.at, chance)
    for name, stage in stages:
        candidates, _ = candidates.after(name, stage, row.chain.settings, position)
    return candidates


def drawn_of_whole(
    row: RowToDraw, facts: BlockFacts, index: int, dropped: Integers, chance: RandomGenerator
) -> Drawn:
    """Draws one of all candidates of a row, the block's at this index. `dropped`: the ids,
    ascending, that may not stand there. Raises NoCandidateLeft."""
    return chosen(_left(row, facts, index, dropped, chance), chance, row.kept)


def _left(
    row: RowToDraw,
    facts: BlockFacts,
    index: int,
    dropped: Integers,
    chance: RandomGenerator,
) -> Candidates:
    """What the chain leaves of a whole row. Raises NoCandidateLeft."""
    plan = row.chain.plan
    stages = (*plan.together, *plan.apart)
    if row.mask is None and not row.first:
        return rest_of_chain(_whole(row, facts, index, dropped, chance), row, chance, stages)
    stages = (*row.first, *row.chain.changing(row.at), *stages)
    return rest_of_chain(_allowed(row, facts, index, dropped), row, chance, stages)


def _allowed(row: RowToDraw, facts: BlockFacts, index: int, dropped: Integers) -> Candidates:
    """What a constraint leaves of all."""
    finite = np.isfinite(facts.shifted[index])
    if row.mask is not None:
        finite &= row.mask
    finite[dropped] = False
    ids = np.flatnonzero(finite)
    logits = facts.logits_of(index, ids)
    return some_left("the constraint", Candidates(ids.astype(np.int32), logits))


def _without(ids: Integers, dropped: Integers) -> Integers:
    """The ids less those dropped; both ascending."""
    if not len(dropped):
        return ids
    places = np.searchsorted(dropped, ids)
    places[places == len(dropped)] = 0
    return np.asarray(ids[dropped[places] != ids])


def _whole(
    row: RowToDraw,
    facts: BlockFacts,
    index: int,
    dropped: Integers,
    chance: RandomGenerator,
) -> Candidates:
    """All candidates of a row after the stages that look at each for itself."""
    chain = row.chain
    position = chain.position(row.at, chance)
    changed = chain.changed(position)
    logits = facts.logits_of(index, slice(None))
    own = _without(changed, dropped)
    own = own[np.isfinite(logits[own])]
    touched = Candidates(own.astype(np.int32), logits[own])
    if chain.plan.temperature != 1:
        logits /= chain.plan.temperature
    logits[dropped] = -math.inf
    logits[own] = -math.inf
    if len(own):
        try:
            for name, stage in chain.changing(row.at):
                touched, _ = touched.after(name, stage, chain.settings, position)
            logits[touched.ids] = touched.logits
        except NoCandidateLeft:
            pass  # Others may be left.
    ids = np.flatnonzero(logits > -math.inf)
    return some_left("all that bars", Candidates(ids.astype(np.int32), logits[ids]))


def chosen(candidates: Candidates, chance: Callable[[], float], kept: int) -> Drawn:
    """Draws one."""
    told = _kept(candidates, kept)
    if len(candidates.ids) == 1:
        return int(candidates.ids[0]), 1.0, told
    return (*_placed(candidates, chance()), told)


def _placed(candidates: Candidates, number: float) -> tuple[int, float]:
    """The one that a number from 0 to 1 draws, and its probability."""
    ids, logits = candidates
    if len(ids) > _FEW:
        # As `log_softmax`, whose sum this is; the exponential of one of its logprobs is enough.
        shifted = logits - logits.max()
        weights = np.exp(shifted)
        total = weights.sum()
        place = _sought(weights, float(total), number)
        if place is not None:
            return int(ids[place]), float(np.exp(shifted[place] - math.log(total)))
    p = np.exp(log_softmax(logits))
    place = drawn_place(p, number)
    return int(ids[place]), float(p[place])


def _sought(weights: Reals, total: float, chance: float) -> int | None:
    """The place that `drawn_place` draws; None where rounding decides between two.

    Sums by groups, which takes a part of the time.
    """
    groups = np.cumsum(np.add.reduceat(weights, np.arange(0, len(weights), _GROUP)))
    target = chance * total
    group = int(np.searchsorted(groups, target, side="right"))
    if group == len(groups):
        return None
    before = float(groups[group - 1]) if group else 0.0
    mass = before + np.cumsum(weights[group * _GROUP : (group + 1) * _GROUP])
    place = int(np.searchsorted(mass, target, side="right"))
    if place == len(mass):
        return None
    before = float(mass[place - 1]) if place else before
    # A sum of n positive numbers is off by n × 2⁻⁵³ of it at the most; there are a few of them.
    error = total * len(weights) * 2.0**-50
    first = not group and not place
    sure = (first or target - before > error) and mass[place] - target > error
    return group * _GROUP + place if sure else None


def best_kept(ids: Ids, p: Reals, count: int) -> tuple[tuple[int, float], ...]:
    """Of candidates, shape (n,), with the probabilities that a chain left them: id and probability
    of so many best ones, best first, ties by id; none of those that it dropped."""
    order = np.lexsort((ids, -p))[:count]
    return tuple((int(ids[at]), float(p[at])) for at in order if p[at] > 0)


def _kept(candidates: Candidates, count: int) -> tuple[tuple[int, float], ...]:
    if not count:
        return ()
    return best_kept(candidates.ids, np.exp(log_softmax(candidates.logits)), count)
