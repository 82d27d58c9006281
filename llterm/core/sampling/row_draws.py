"""Tokens drawn from many rows of logits at once, each by a chain of its own.

What is drawn, and with which probability, is what `Chain.draw` makes of the whole row. One pass
over a block finds the norms and those candidates of each row that its chain can keep; the chain
then runs over these. Where that cannot tell what it would keep (see `stage_plan`), it runs over all
of the row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Bits, Ids, Reals
from llterm.core.logit_rows import (
    Floats,
    Integers,
    RowScratch,
    best_ids_of_rows,
    blocks,
    exponentials,
    floors_of_rows,
)
from llterm.core.sampling.candidates import Candidates, NoCandidateLeft, some_left
from llterm.core.sampling.first_numbers import WORD, first_numbers
from llterm.core.sampling.ladder import Mirostat, drawn_place, generator
from llterm.core.sampling.plain_draws import best_of_all, drawn_of_all
from llterm.core.sampling.sampler_chain import Chain, Situation
from llterm.core.sampling.stage_plan import Unseen, bounded, mass_error
from llterm.core.sampling.stage_types import Position, Stage, log_softmax
from llterm.core.tokens import Tail

_FEW = 512
"""Candidates whose probabilities are summed one after the other; of more, by groups first."""
_GROUP = 64


@dataclass(frozen=True, slots=True, eq=False)
class RowToDraw:
    """A row of logits of which a token is drawn."""

    chain: Chain
    """Of a vocabulary that is whole."""
    at: Situation
    line: int = 0
    """With the settings' seed and the place it decides what is drawn."""
    mask: Bits | None = None
    """What a constraint allows, shape (vocabulary size,)."""
    barred: Integers = field(default_factory=lambda: _NO_IDS)
    """Ids, ascending, that may not stand there; a few, beside a mask of all."""
    first: Sequence[tuple[str, Stage]] = ()
    """Stages that run before all but the constraint."""
    top: int = 0
    """Candidates to tell with it."""
    watched: Tail = ()
    """Ids whose logprob is to be told with it."""
    kept: int = 0
    """Candidates that the chain left to tell with it."""


@dataclass(frozen=True, slots=True)
class RowDraw:
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


_NO_IDS: Integers = np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Row:
    """What one pass over a block finds of a row."""

    shifted: Floats
    """Logits below the best one, shape (vocabulary size,)."""
    best: float
    norm: float
    """The natural log of the sum of e to the power of `shifted`."""

    def logprobs(self, ids: Integers | slice) -> Floats:
        """As a distribution of the row holds them."""
        return np.asarray(self.shifted[ids] - np.float64(self.norm), np.float32)

    def logits(self, ids: Integers | slice) -> Reals:
        return self.logprobs(ids).astype(np.float64) + (self.best + self.norm)


class _Chance:
    """The numbers of a seeded row, whose first may be known. Making a generator takes longer than
    many a row: it is made when it is asked for more."""

    def __init__(self, row: RowToDraw, first: float | None) -> None:
        self._row = row
        self._first = first
        self._told = False
        self._generator: np.random.Generator | None = None

    def __call__(self) -> float:
        if self._generator is None:
            row, first = self._row, self._first
            if first is not None and not self._told:
                self._told = True
                return first
            self._generator = generator(row.chain.settings, len(row.at.context), row.line)
            if self._told:
                self._generator.random()
        return self._generator.random()


class BlockDrawing:
    """Draws from rows of one vocabulary. For one thread at a time."""

    def __init__(self) -> None:
        self._scratch = RowScratch()
        self._chance = np.random.default_rng()
        """Of rows without a seed."""

    def draw(self, logits: Floats, best: Floats, rows: Sequence[RowToDraw]) -> list[RowDraw | None]:
        """A token of each row; None where nothing may stand there.

        `logits`, shape (rows, vocabulary size): the raw model's. `best`, shape (rows,): the largest
        of each, a finite number.
        """
        drawn: list[RowDraw | None] = []
        chances = self._chances(rows)
        with np.errstate(over="ignore"):
            for part in blocks(len(rows), logits.shape[1]):
                drawn += self._block(logits[part], best[part], rows[part], chances[part])
        return drawn

    def _chances(self, rows: Sequence[RowToDraw]) -> list[Callable[[], float]]:
        """Where the numbers of each row come from."""
        seeds = {
            index: (seed, len(row.at.context), row.line)
            for index, row in enumerate(rows)
            if (seed := row.chain.settings.seed) is not None
            and 0 <= seed < WORD
            and not (row.chain.plain and row.chain.plan.bound)
        }
        firsts = dict(zip(seeds, first_numbers([*seeds.values()]), strict=True)) if seeds else {}
        return [
            self._chance.random
            if row.chain.settings.seed is None
            else _Chance(row, firsts.get(index))
            for index, row in enumerate(rows)
        ]

    def _block(
        self,
        logits: Floats,
        best: Floats,
        rows: Sequence[RowToDraw],
        chances: list[Callable[[], float]],
    ) -> list[RowDraw | None]:
        shifted, powers, totals = exponentials(logits, best, self._scratch)
        norms = np.log(totals)
        read = [
            _Row(*facts)
            for facts in zip(
                shifted, best.tolist(), norms.tolist(), strict=True
            )
        ]  # fmt: skip
        most = max(row.top for row in rows)
        tops = best_ids_of_rows(shifted, most, self._scratch) if most else None
        plain = self._plain(shifted, powers, rows, chances)
        near = self._near(shifted, totals, rows, plain)
        drawn: list[RowDraw | None] = []
        for index, (row, facts, chance) in enumerate(zip(rows, read, chances, strict=True)):
            candidates = None
            if index in plain:
                id, p = plain[index]
            else:
                try:
                    candidates = _left(row, facts, near.get(index), chance)
                except NoCandidateLeft:
                    drawn.append(None)
                    continue
                id, p = _chosen(candidates, chance)
            drawn.append(
                RowDraw(
                    id,
                    float(facts.logprobs(slice(id, id + 1))[0]),
                    p,
                    row.chain.mirostat_after(row.at, p),
                    _top(facts, tops[index, : row.top]) if tops is not None and row.top else (),
                    tuple(facts.logprobs(np.array(row.watched, np.int64)).tolist())
                    if row.watched
                    else (),
                    _kept(candidates, row.kept) if candidates is not None else (),
                )
            )
        return drawn

    def _plain(
        self,
        shifted: Floats,
        powers: Floats,
        rows: Sequence[RowToDraw],
        chances: list[Callable[[], float]],
    ) -> dict[int, tuple[int, float]]:
        """Id and probability drawn of those rows, by index, whose chain leaves all or the best and
        where that is sure. The powers are used up."""
        plain = [
            index
            for index, row in enumerate(rows)
            if row.chain.plain and row.mask is None and not row.first and not row.kept
        ]
        barred = {index: _dropped(rows[index]) for index in plain}
        best = [index for index in plain if rows[index].chain.plan.bound is not None]
        hot = [index for index in plain if rows[index].chain.plan.bound is None]
        drawn: dict[int, tuple[int, float] | None] = {}
        if best:
            own = shifted if len(best) == len(rows) else shifted[best]
            placed = best_of_all(own, [barred[index] for index in best], self._scratch)
            drawn |= zip(best, placed, strict=True)
        if hot:
            temperatures = np.array([rows[index].chain.plan.temperature for index in hot])
            weights = powers if len(hot) == len(rows) else powers[hot]
            if (temperatures != 1).any():
                inverse = (1 / temperatures).astype(np.float32)
                np.exp(np.multiply(shifted[hot], inverse[:, None], out=weights), out=weights)
            numbers = np.array([chances[index]() for index in hot])
            placed = drawn_of_all(weights, [barred[index] for index in hot], temperatures, numbers)
            drawn |= zip(hot, placed, strict=True)
            for index, number in zip(hot, numbers.tolist(), strict=True):
                # Where that was not sure it is drawn with the same number; there is no other.
                chances[index] = partial(float, number)
        return {index: placed for index, placed in drawn.items() if placed is not None}

    def _near(
        self,
        shifted: Floats,
        totals: Reals,
        rows: Sequence[RowToDraw],
        known: Container[int],
    ) -> dict[int, _Near]:
        """For each row whose chain keeps only some of its best, by index: these, and more; not for
        those known already."""
        size = shifted.shape[1]
        bounds = {
            index: row.chain.plan
            for index, row in enumerate(rows)
            if row.chain.plan.bound is not None
            and row.mask is None
            and not row.first
            and index not in known
        }
        if not bounds:
            return {}
        indexes = list(bounds)
        tempered = self._tempered(shifted, totals, rows, indexes)
        floors = np.zeros(len(indexes), np.float32)
        counts = [bounds[index].best(rows[index].chain.settings) for index in indexes]
        for count in {count for count in counts if count}:
            places = [place for place, each in enumerate(counts) if each == count]
            own = shifted[[indexes[place] for place in places]]
            floors[places] = floors_of_rows(own, count, self._scratch)
        for place, (index, count) in enumerate(zip(indexes, counts, strict=True)):
            if not count:
                settings = rows[index].chain.settings
                floors[place] = -bounds[index].depth(settings, float(tempered[place]), size)
        wanted = shifted if len(indexes) == len(rows) else shifted[indexes]
        flags = np.greater_equal(wanted, floors[:, None], out=self._scratch.flags(wanted.shape))
        row_of, ids = np.divmod(np.flatnonzero(flags), size)
        ends = np.searchsorted(row_of, np.arange(1, len(indexes)))
        parts = np.split(ids, ends)
        return {
            index: _Near(part, floor, total)
            for index, part, floor, total in zip(
                indexes, parts, floors, tempered.tolist(), strict=True
            )
        }

    def _tempered(
        self,
        shifted: Floats,
        totals: Reals,
        rows: Sequence[RowToDraw],
        indexes: Sequence[int],
    ) -> Reals:
        """Of each of these rows, the sum of e to the power of its logits below the best over its
        chain's temperature, where the chain asks for it."""
        sums = totals[list(indexes)]
        hot = [
            place
            for place, index in enumerate(indexes)
            if (plan := rows[index].chain.plan).temperature != 1
            and plan.bound is not None
            and plan.bound[0] == "top_p"
        ]
        if hot:
            chosen = [indexes[place] for place in hot]
            inverse = np.array([1 / rows[index].chain.plan.temperature for index in chosen])
            powers = self._scratch.floats("powers", (len(chosen), shifted.shape[1]))
            np.multiply(shifted[chosen], inverse.astype(np.float32)[:, None], out=powers)
            sums[hot] = np.exp(powers, out=powers).sum(axis=1, dtype=np.float64)
        return sums


@dataclass(frozen=True, slots=True, eq=False)
class _Near:
    """The candidates of a row that are not far below its best."""

    ids: Integers
    """Ascending."""
    floor: np.float32
    """All of them, and no others, are as good as this below the best."""
    total: float
    """See `BlockDrawing._tempered`."""


def _left(
    row: RowToDraw, facts: _Row, near: _Near | None, chance: Callable[[], float]
) -> Candidates:
    """What the chain leaves of a row. Raises NoCandidateLeft."""
    chain, settings = row.chain, row.chain.settings
    position = chain.position(row.at, chance)
    rest: Sequence[tuple[str, Stage]] = chain.plan.rest
    candidates = None
    if row.mask is None and not row.first:
        dropped, changed = _dropped(row), chain.changed(position)
        if near is not None:
            candidates = _kept_of_near(row, facts, near, dropped, changed, position)
        if candidates is None:
            candidates = _whole(row, facts, dropped, changed, position)
            if chain.plan.bound is not None:
                rest = (chain.plan.bound, *rest)
    else:
        candidates = _allowed(row, facts, position)
        rest = (*chain.changing(row.at), *([chain.plan.bound] if chain.plan.bound else ()), *rest)
    for name, stage in rest:
        candidates, _ = candidates.after(name, stage, settings, position)
    return candidates


def _dropped(row: RowToDraw) -> Integers:
    """Ids, ascending, that may not stand there whatever else holds."""
    dropped = row.chain.dropped(row.at)
    return np.union1d(dropped, row.barred) if len(row.barred) else dropped


def _allowed(row: RowToDraw, facts: _Row, position: Position) -> Candidates:
    """What a constraint and the first stages leave of all."""
    finite = np.isfinite(facts.shifted)
    if row.mask is not None:
        finite &= row.mask
    finite[_dropped(row)] = False
    ids = np.flatnonzero(finite)
    candidates = some_left("the constraint", _of(facts, ids))
    for name, stage in row.first:
        candidates, _ = candidates.after(name, stage, row.chain.settings, position)
    return candidates


def _of(facts: _Row, ids: Integers) -> Candidates:
    return Candidates(ids.astype(np.int32), facts.logits(ids))


def _kept_of_near(
    row: RowToDraw,
    facts: _Row,
    near: _Near,
    dropped: Integers,
    changed: Integers,
    position: Position,
) -> Candidates | None:
    """What the chain's bound keeps; None where the candidates near the best do not tell."""
    chain, temperature = row.chain, row.chain.plan.temperature
    size = len(facts.shifted)
    ids = near.ids
    if len(changed):
        ids = np.sort(np.concatenate([_without(ids, changed), changed]))
    ids = _without(ids, dropped)
    if len(changed) or near.floor == -np.inf:
        ids = ids[np.isfinite(facts.shifted[ids])]
    if not len(ids):
        return None
    seen = _of(facts, ids)
    try:
        for name, stage in chain.changing(row.at):
            seen, _ = seen.after(name, stage, chain.settings, position)
    except NoCandidateLeft:
        return None
    most = float(np.float32(near.floor - np.float64(facts.norm))) + (facts.best + facts.norm)
    unseen = Unseen(most / temperature)
    if chain.plan.bound is not None and chain.plan.bound[0] == "top_p":
        counted = np.concatenate([ids, dropped])
        weights = np.exp(facts.shifted[counted].astype(np.float64) / temperature)
        unseen = Unseen(
            most / temperature,
            near.total - float(weights.sum()),
            mass_error(near.total, size, temperature),
            facts.best / temperature,
        )
    return bounded(chain.plan, chain.settings, seen, position, unseen)


def _without(ids: Integers, dropped: Integers) -> Integers:
    """The ids less those dropped; both ascending."""
    if not len(dropped):
        return ids
    places = np.searchsorted(dropped, ids)
    places[places == len(dropped)] = 0
    return np.asarray(ids[dropped[places] != ids])


def _whole(
    row: RowToDraw, facts: _Row, dropped: Integers, changed: Integers, position: Position
) -> Candidates:
    """All candidates of a row after the stages that look at each for itself."""
    chain = row.chain
    logits = facts.logits(slice(None))
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


def _chosen(candidates: Candidates, chance: Callable[[], float]) -> tuple[int, float]:
    """Draws one, and says how probable it is."""
    ids, logits = candidates
    if len(ids) == 1:
        return int(ids[0]), 1.0
    number = chance()
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


def _top(facts: _Row, ids: NDArray[np.int64]) -> tuple[tuple[int, float], ...]:
    return tuple(zip(ids.tolist(), facts.logprobs(ids).tolist(), strict=True))
