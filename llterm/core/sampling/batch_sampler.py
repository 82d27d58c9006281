"""Tokens drawn from many rows of logits at once, each by a chain of its own.

What is drawn, and with which probability, is what `Chain.draw` makes of the whole row. One pass
over a block finds the norms and those candidates of each row that its chain can keep; the chain
then runs over these. Where that cannot tell what it would keep (see `stage_plan`), it runs over all
of the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from llterm.core.logit_rows import (
    Floats,
    Integers,
    RowScratch,
    best_ids_of_rows,
    blocks,
    exponentials,
)
from llterm.core.sampling.candidates import NoCandidateLeft
from llterm.core.sampling.drawn_rows import BlockFacts, RowDraw, RowToDraw
from llterm.core.sampling.ragged_candidates import RaggedCandidates
from llterm.core.sampling.random_generators import RandomGenerator, RandomGenerators
from llterm.core.sampling.single_row import Drawn, chosen, drawn_of_whole, rest_of_chain
from llterm.core.sampling.stage_plan import DYNAMIC_ERROR
from llterm.core.sampling.truncated_rows import GUESSES, TruncatedRow, truncated
from llterm.core.sampling.untruncated_rows import Placed, greedy, sampled

_BLOCK = 1 << 18
"""Numbers worked on at a time: more than are read at a time, for a draw has many small steps."""
_JOINED = 256
"""Sets of barred ids that are kept for the next step."""


class BatchSampler:
    """Draws from rows of one vocabulary. For one thread at a time."""

    def __init__(self) -> None:
        self._scratch = RowScratch()
        self._generators = RandomGenerators()
        self._joined: dict[tuple[int, bytes], tuple[Integers, Integers]] = {}
        """By an array's number and further ids: the array, and both together."""

    def draw(self, logits: Floats, best: Floats, rows: Sequence[RowToDraw]) -> list[RowDraw | None]:
        """A token of each row; None where nothing may stand there.

        `logits`, shape (rows, vocabulary size): the raw model's. `best`, shape (rows,): the largest
        of each, a finite number.
        """
        drawn: list[RowDraw | None] = []
        chances = self._generators.of(
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
        most = max([row.top for row in rows])
        tops = best_ids_of_rows(shifted, most, self._scratch) if most else None
        dropped = self._dropped(rows)
        drawn: list[Drawn | None] = [None] * len(rows)
        greedy_rows: list[int] = []
        untruncated_rows: list[int] = []
        truncated_rows: dict[object, list[int]] = {}
        for index, row in enumerate(rows):
            chain = row.chain
            if row.mask is not None or row.first:
                continue
            bound = chain.plan.bound
            if chain.plain and not row.kept:
                (greedy_rows if bound else untruncated_rows).append(index)
            if bound:
                truncated_rows.setdefault(chain.signature, []).append(index)
        if greedy_rows:
            self._greedy(shifted, greedy_rows, dropped, drawn)
        if untruncated_rows:
            self._untruncated(facts, powers, untruncated_rows, rows, dropped, chances, drawn)
        for alike in truncated_rows.values():
            self._truncated(facts, alike, rows, dropped, chances, drawn)
        for index, row in enumerate(rows):
            if drawn[index] is None:
                chances[index].begin_anew()
                try:
                    own = dropped[index]
                    drawn[index] = drawn_of_whole(row, facts, index, own, chances[index])
                except NoCandidateLeft:
                    continue
        return _told(facts, rows, drawn, tops)

    def _greedy(
        self,
        shifted: Floats,
        indexes: Sequence[int],
        dropped: Sequence[Integers],
        drawn: list[Drawn | None],
    ) -> None:
        """Draw of these rows, whose chains leave the best alone, where that is sure."""
        own = shifted if len(indexes) == len(drawn) else shifted[indexes]
        _put(drawn, indexes, greedy(own, [dropped[index] for index in indexes], self._scratch))

    def _untruncated(
        self,
        facts: BlockFacts,
        powers: Floats,
        indexes: Sequence[int],
        rows: Sequence[RowToDraw],
        dropped: Sequence[Integers],
        chances: Sequence[RandomGenerator],
        drawn: list[Drawn | None],
    ) -> None:
        """Draw of these rows, whose chains leave all candidates, where that is sure. The powers are
        used up."""
        temperatures = np.array([rows[index].chain.plan.temperature for index in indexes])
        whole = len(indexes) == len(rows)
        weights = powers if whole else powers[indexes]
        if (temperatures != 1).any():
            shifted = facts.shifted if whole else facts.shifted[indexes]
            inverse = (1 / temperatures).astype(np.float32)
            np.multiply(shifted, inverse[:, None], out=weights)
            np.exp(weights, out=weights)
        numbers = np.array([chances[index]() for index in indexes])
        barred = [dropped[index] for index in indexes]
        _put(drawn, indexes, sampled(weights, barred, temperatures, numbers))

    def _truncated(
        self,
        facts: BlockFacts,
        indexes: Sequence[int],
        rows: Sequence[RowToDraw],
        dropped: Sequence[Integers],
        chances: Sequence[RandomGenerator],
        drawn: list[Drawn | None],
    ) -> None:
        """Draw of these rows, whose chains keep only the best and are alike, where it is sure which
        these are; not of those drawn already."""
        left = [index for index in indexes if drawn[index] is None]
        if not left:
            return
        guesses = GUESSES if rows[left[0]].chain.plan.bound == "top_p" else GUESSES[:1]
        for guess in guesses:
            own = [
                TruncatedRow(row.chain, row.at, dropped[index], chances[index], row.counted)
                for index in left
                for row in (rows[index],)
            ]
            sure, candidates = truncated(facts.of(left), own, guess, self._scratch)
            known = left if len(sure) == len(left) else [left[place] for place in sure.tolist()]
            if known:
                _draw_of(candidates, known, rows, chances, drawn)
            left = [index for index in left if drawn[index] is None]
            if not left:
                break
            for index in left:
                chances[index].begin_anew()

    def _dropped(self, rows: Sequence[RowToDraw]) -> list[Integers]:
        """For each row the ids, ascending, that may not stand there whatever else holds: one array
        for all that have the same."""
        dropped = [row.chain.dropped(row.at) for row in rows]
        for index, row in enumerate(rows):
            if len(row.barred):
                dropped[index] = self._with(dropped[index], row.barred)
        return dropped

    def _with(self, dropped: Integers, barred: Integers) -> Integers:
        key = id(dropped), barred.tobytes()
        known = self._joined.get(key)
        if known is not None and known[0] is dropped:
            return known[1]
        if len(self._joined) >= _JOINED:
            self._joined.clear()
        joined = np.union1d(dropped, barred)
        self._joined[key] = dropped, joined
        return joined


def _put(drawn: list[Drawn | None], indexes: Sequence[int], placed: Placed) -> None:
    for index, place in zip(indexes, placed, strict=True):
        if place is not None:
            drawn[index] = (*place, ())


def _draw_of(
    candidates: RaggedCandidates,
    indexes: Sequence[int],
    rows: Sequence[RowToDraw],
    chances: Sequence[RandomGenerator],
    drawn: list[Drawn | None],
) -> None:
    """Draw of what is left of these rows, once each is through the rest of its chain, where it is
    sure."""
    numbers: list[float] = []
    for place, index in enumerate(indexes):
        chance, row = chances[index], rows[index]
        if row.chain.plan.apart:
            left = rest_of_chain(candidates.of_row(place), row, chance, row.chain.plan.apart)
            drawn[index] = chosen(left, chance, row.kept)
            numbers.append(0.0)
        else:
            numbers.append(chance())
    if all(drawn[index] is not None for index in indexes):
        return
    dynamic = "dynamic" in rows[indexes[0]].chain.signature[2]
    error = DYNAMIC_ERROR if dynamic else 0.0
    ids, p, sure = (each.tolist() for each in candidates.drawn(np.array(numbers), error))
    for place, index in enumerate(indexes):
        if drawn[index] is not None:
            continue
        if sure[place] and not rows[index].kept:
            drawn[index] = ids[place], p[place], ()
        elif not dynamic:
            number = partial(float, numbers[place])
            drawn[index] = chosen(candidates.of_row(place), number, rows[index].kept)


def _told(
    facts: BlockFacts,
    rows: Sequence[RowToDraw],
    drawn: Sequence[Drawn | None],
    tops: Integers | None,
) -> list[RowDraw | None]:
    """What was drawn of each row, with what is to be told with it. `tops`, shape (rows, count): the
    best ids of each."""
    ids = np.array([each[0] if each is not None else 0 for each in drawn], np.int64)
    raw = (facts.shifted[np.arange(len(rows)), ids] - facts.norms).astype(np.float32).tolist()
    told: list[RowDraw | None] = []
    for index, (row, each) in enumerate(zip(rows, drawn, strict=True)):
        if each is None:
            told.append(None)
            continue
        id, p, kept = each
        mirostat = row.chain.mirostat_after(row.at, p) if row.chain.settings.mirostat else None
        top = _logprobs(facts, index, tops[index, : row.top]) if tops is not None else ()
        watched: tuple[float, ...] = ()
        if row.watched:
            watched = tuple(facts.logprobs(index, np.array(row.watched, np.int64)).tolist())
        told.append(RowDraw(id, raw[index], p, mirostat, top, watched, kept))
    return told


def _logprobs(facts: BlockFacts, index: int, ids: Integers) -> tuple[tuple[int, float], ...]:
    """Of these ids of a row: id and natural logprob of the raw model."""
    return tuple(zip(ids.tolist(), facts.logprobs(index, ids).tolist(), strict=True))
