"""Tokens drawn from many rows of logits at once, each by a chain of its own.

What is drawn, and with which probability, is what `Chain.draw` makes of the whole row. One pass
over a block finds the norms and those candidates of each row that its chain can keep; the chain
then runs over these. Where that cannot tell what it would keep (see `stage_plan`), it runs over all
of the row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from llterm.core.distribution import Bits, Ids, Reals
from llterm.core.logit_rows import (
    Floats,
    Integers,
    RowScratch,
    best_ids_of_rows,
    blocks,
    exponentials,
)
from llterm.core.sampling.candidates import Candidates, NoCandidateLeft, some_left
from llterm.core.sampling.ladder import Mirostat, drawn_place
from llterm.core.sampling.ragged_candidates import RaggedCandidates
from llterm.core.sampling.random_generators import RandomGenerator, RandomGenerators
from llterm.core.sampling.sampler_chain import Chain, Situation
from llterm.core.sampling.stage_plan import DYNAMIC_ERROR
from llterm.core.sampling.stage_types import Stage, log_softmax
from llterm.core.sampling.token_counts import TokenCounts
from llterm.core.sampling.truncated_rows import GUESSES, BlockFacts, TruncatedRow, truncated
from llterm.core.sampling.untruncated_rows import greedy, sampled
from llterm.core.tokens import Tail

_BLOCK = 1 << 18
"""Numbers worked on at a time: more than are read at a time, for a draw has many small steps."""
_FEW = 512
"""Candidates whose probabilities are summed one after the other; of more, by groups first."""
_GROUP = 64


_NO_IDS: Integers = np.empty(0, np.int64)


class RowToDraw(NamedTuple):
    """A row of logits of which a token is drawn."""

    chain: Chain
    """Of a vocabulary that is whole."""
    at: Situation
    line: int = 0
    """With the settings' seed and the place it decides what is drawn."""
    mask: Bits | None = None
    """What a constraint allows, shape (vocabulary size,)."""
    barred: Integers = _NO_IDS
    """Ids, ascending, that may not stand there; a few, beside a mask of all."""
    first: Sequence[tuple[str, Stage]] = ()
    """Stages that run before all but the constraint."""
    top: int = 0
    """Candidates to tell with it."""
    watched: Tail = ()
    """Ids whose logprob is to be told with it."""
    kept: int = 0
    """Candidates that the chain left to tell with it."""
    counted: TokenCounts | None = None
    """The tokens that are penalised, where they are counted already."""


class RowDraw(NamedTuple):
    """A token that was drawn of a row."""

    id: int
    logprob: float
    """Natural, of the raw model."""
    p: float
    """What it was drawn with, after the chain."""
    mirostat: Mirostat | None
    """What it remembers for the next one; None without mirostat."""
    top: tuple[tuple[int, float], ...] = ()
    """Id and natural logprob of the raw model's best candidates, best first, ties by id."""
    watched: tuple[float, ...] = ()
    """Natural logprobs of the raw model, of the watched ids, in their order."""
    kept: tuple[tuple[int, float], ...] = ()
    """Id and probability of the candidates that the chain left, best first, ties by id."""


class BatchSampler:
    """Draws from rows of one vocabulary. For one thread at a time."""

    def __init__(self) -> None:
        self._scratch = RowScratch()
        self._numbers = RandomGenerators()

    def draw(self, logits: Floats, best: Floats, rows: Sequence[RowToDraw]) -> list[RowDraw | None]:
        """A token of each row; None where nothing may stand there.

        `logits`, shape (rows, vocabulary size): the raw model's. `best`, shape (rows,): the largest
        of each, a finite number.
        """
        drawn: list[RowDraw | None] = []
        chances = self._numbers.of(
            [(row.chain.settings, len(row.at.context), row.line) for row in rows]
        )
        with np.errstate(over="ignore"):
            for part in blocks(len(rows), logits.shape[1], _BLOCK):
                drawn += self._block(logits[part], best[part], rows[part], chances[part])
        return drawn

    def _block(
        self,
        logits: Floats,
        best: Floats,
        rows: Sequence[RowToDraw],
        chances: Sequence[RandomGenerator],
    ) -> list[RowDraw | None]:
        shifted, powers, totals = exponentials(logits, best, self._scratch)
        facts = BlockFacts(shifted, best.astype(np.float64), totals, np.log(totals))
        most = max(row.top for row in rows)
        tops = best_ids_of_rows(shifted, most, self._scratch) if most else None
        dropped = _dropped(rows)
        drawn: dict[int, _Drawn] = self._plain(shifted, powers, rows, dropped, chances)
        drawn |= self._truncated(facts, rows, dropped, drawn.keys(), chances)
        for index in range(len(rows)):
            if index not in drawn:
                chances[index].begin_anew()
                try:
                    left = _left(rows[index], facts, index, dropped[index], chances[index])
                except NoCandidateLeft:
                    continue
                drawn[index] = _chosen(left, chances[index], rows[index].kept)
        own = list(drawn)
        ids = np.array([drawn[index][0] for index in own], np.int64)
        raw = (shifted[own, ids] - facts.norms[own]).astype(np.float32)
        told: list[RowDraw | None] = [None] * len(rows)
        for index, logprob in zip(own, raw.tolist(), strict=True):
            row, (id, p, kept) = rows[index], drawn[index]
            mirostat = row.chain.mirostat_after(row.at, p) if row.chain.settings.mirostat else None
            top = _logprobs(facts, index, tops[index, : row.top]) if tops is not None else ()
            watched: tuple[float, ...] = ()
            if row.watched:
                watched = tuple(facts.logprobs(index, np.array(row.watched, np.int64)).tolist())
            told[index] = RowDraw(id, logprob, p, mirostat, top, watched, kept)
        return told

    def _plain(
        self,
        shifted: Floats,
        powers: Floats,
        rows: Sequence[RowToDraw],
        dropped: Sequence[Integers],
        chances: Sequence[RandomGenerator],
    ) -> dict[int, _Drawn]:
        """What is drawn of those rows, by index, whose chain leaves all or the best and where that
        is sure. The powers are used up."""
        plain = [
            index
            for index, row in enumerate(rows)
            if row.chain.plain and row.mask is None and not row.first and not row.kept
        ]
        best = [index for index in plain if rows[index].chain.plan.bound]
        hot = [index for index in plain if not rows[index].chain.plan.bound]
        drawn: dict[int, tuple[int, float] | None] = {}
        if best:
            own = shifted if len(best) == len(rows) else shifted[best]
            placed = greedy(own, [dropped[index] for index in best], self._scratch)
            drawn |= zip(best, placed, strict=True)
        if hot:
            temperatures = np.array([rows[index].chain.plan.temperature for index in hot])
            whole = len(hot) == len(rows)
            weights = powers if whole else powers[hot]
            if (temperatures != 1).any():
                inverse = (1 / temperatures).astype(np.float32)
                np.multiply(shifted if whole else shifted[hot], inverse[:, None], out=weights)
                np.exp(weights, out=weights)
            numbers = np.array([chances[index]() for index in hot])
            placed = sampled(weights, [dropped[index] for index in hot], temperatures, numbers)
            drawn |= zip(hot, placed, strict=True)
        return {index: (*placed, ()) for index, placed in drawn.items() if placed is not None}

    def _truncated(
        self,
        facts: BlockFacts,
        rows: Sequence[RowToDraw],
        dropped: Sequence[Integers],
        known: Collection[int],
        chances: Sequence[RandomGenerator],
    ) -> dict[int, _Drawn]:
        """What is drawn of those rows, by index, whose chain keeps only the best, and where it is
        sure which; not of those known already."""
        alike: dict[object, list[int]] = {}
        for index, row in enumerate(rows):
            if row.chain.plan.bound and row.mask is None and not row.first and index not in known:
                alike.setdefault(row.chain.signature, []).append(index)
        drawn: dict[int, _Drawn] = {}
        for alike_rows in alike.values():
            left = alike_rows
            for guess in GUESSES[: None if rows[left[0]].chain.plan.bound == "top_p" else 1]:
                own = [
                    TruncatedRow(
                        rows[index].chain, rows[index].at, dropped[index],
                        chances[index], rows[index].counted,
                    )
                    for index in left
                ]  # fmt: skip
                sure, candidates = truncated(facts.of(left), own, guess, self._scratch)
                told = [left[place] for place in sure.tolist()]
                drawn |= _chosen_of(candidates, told, rows, chances)
                left = [index for index in left if index not in drawn]
                if not left:
                    break
                for index in left:
                    chances[index].begin_anew()
        return drawn


def _logprobs(facts: BlockFacts, index: int, ids: Integers) -> tuple[tuple[int, float], ...]:
    """Of these ids of a row: id and natural logprob of the raw model."""
    return tuple(zip(ids.tolist(), facts.logprobs(index, ids).tolist(), strict=True))


_Drawn = tuple[int, float, tuple[tuple[int, float], ...]]
"""Id, probability, and the candidates that the chain left, where they are to be told."""


def _chosen_of(
    candidates: RaggedCandidates,
    indexes: Sequence[int],
    rows: Sequence[RowToDraw],
    chances: Sequence[RandomGenerator],
) -> dict[int, _Drawn]:
    """Draws of what is left of these rows, once each is through the rest of its chain."""
    drawn: dict[int, _Drawn] = {}
    if not indexes:
        return drawn
    numbers: list[float] = []
    for place, index in enumerate(indexes):
        row, chance = rows[index], chances[index]
        if row.chain.plan.apart:
            left = _after(candidates.of_row(place), row, chance, row.chain.plan.apart)
            drawn[index] = _chosen(left, chance, row.kept)
            numbers.append(0.0)
        else:
            numbers.append(chance())
    if len(drawn) == len(indexes):
        return drawn
    dynamic = "dynamic" in rows[indexes[0]].chain.signature[2]
    error = DYNAMIC_ERROR if dynamic else 0.0
    ids, p, sure = (each.tolist() for each in candidates.drawn(np.array(numbers), error))
    for place, index in enumerate(indexes):
        if index in drawn:
            continue
        if not rows[index].kept and sure[place]:
            drawn[index] = ids[place], p[place], ()
        elif not dynamic:
            number = partial(float, numbers[place])
            drawn[index] = _chosen(candidates.of_row(place), number, rows[index].kept)
    return drawn


def _after(
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
        return _after(_whole(row, facts, index, dropped, chance), row, chance, stages)
    stages = (*row.first, *row.chain.changing(row.at), *stages)
    return _after(_allowed(row, facts, index, dropped), row, chance, stages)


def _dropped(rows: Sequence[RowToDraw]) -> list[Integers]:
    """For each row the ids, ascending, that may not stand there whatever else holds: one array for
    all that have the same."""
    joined: dict[tuple[int, bytes], Integers] = {}
    dropped = [row.chain.dropped(row.at) for row in rows]
    for index, row in enumerate(rows):
        if len(row.barred):
            key = id(dropped[index]), row.barred.tobytes()
            if key not in joined:
                joined[key] = np.union1d(dropped[index], row.barred)
            dropped[index] = joined[key]
    return dropped


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


def _chosen(candidates: Candidates, chance: Callable[[], float], kept: int) -> _Drawn:
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
