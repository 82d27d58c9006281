"""Models compared with a reference: a few numbers a place, sums, and the worst places."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llterm.core.comparison.divergence import (
    UNTOLD,
    ComparedTokens,
    ScoredTokens,
    SeenRows,
    counted_mass,
    divergence,
    see_logits,
    see_logprobs,
)
from llterm.core.comparison.quant_statistics import Estimate, QuantStatistics
from llterm.core.distribution import Reals
from llterm.core.logit_rows import Floats, Integers, Numbers, RowScratch, blocks

WORST = 10
"""Places kept of each candidate."""
LISTED = 5
"""Tokens listed there."""

Ints = NDArray[np.int32]
RowsOrScores = Numbers | ScoredTokens
"""What a model tells of some places: whole rows, or only how it saw the tokens."""


@dataclass(frozen=True, slots=True)
class WorstPlace:
    """A place where a candidate is far from the reference."""

    kld: float
    number: int
    """Which of the compared places it is, from 0."""
    base_top: tuple[tuple[int, float], ...]
    """Tokens and their probabilities, most probable first."""
    top: tuple[tuple[int, float], ...]


class ModelTrack:
    """One model at every place: arrays of shape (places,), 20 bytes a place."""

    def __init__(self, count: int) -> None:
        self.logprob: Floats = np.zeros(count, np.float32)
        self.rank: Ints = np.zeros(count, np.int32)
        self.choice: Ints = np.zeros(count, np.int32)
        self.choice_p: Floats = np.zeros(count, np.float32)
        self.kld: Floats = np.zeros(count, np.float32)
        """From the reference; 0 for the reference itself, NaN where it is not known."""

    def put(self, where: slice, seen: ScoredTokens, kld: Reals | None = None) -> None:
        self.logprob[where] = seen.logprob
        self.rank[where] = seen.rank
        self.choice[where] = seen.choice
        self.choice_p[where] = seen.choice_p
        if kld is not None:
            self.kld[where] = kld


class ComparedModel:
    """A model that is compared: its track, its sums, its worst places."""

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self.track = ModelTrack(count)
        self.statistics = QuantStatistics()
        self._worst: list[tuple[float, int, WorstPlace]] = []

    @property
    def worst(self) -> list[WorstPlace]:
        """The places of greatest divergence, the worst first."""
        return [one for *_, one in sorted(self._worst, reverse=True)]

    @property
    def whole(self) -> bool:
        """Whether its rows and the reference's were whole; otherwise nothing is known that needs
        them."""
        return self.statistics.now()["kld"].known

    def put(self, where: slice, seen: ScoredTokens, compared: ComparedTokens) -> None:
        """Take in some places, as the reference saw them and as this model does."""
        self.track.put(where, compared.seen, compared.kld)
        self.statistics.add(seen, compared)

    def note(self, begin: int, base: SeenRows, rows: SeenRows, kld: Reals,
             scratch: RowScratch) -> None:  # fmt: skip
        """Keep the worst of these places; `begin` is the number of the first of them."""
        for n in np.argsort(-kld, kind="stable")[:WORST].tolist():
            if len(self._worst) == WORST and kld[n] <= self._worst[0][0]:
                return
            top, base_top = rows.top(n, LISTED, scratch), base.top(n, LISTED, scratch)
            worst = WorstPlace(float(kld[n]), begin + n, base_top, top)
            push = heapq.heappush if len(self._worst) < WORST else heapq.heappushpop
            push(self._worst, (worst.kld, -worst.number, worst))


class ReferenceComparison:
    """A reference and its candidates over the places of a text."""

    def __init__(self, reference: str, candidates: Sequence[str], places: Sequence[int]) -> None:
        """`places`: the text's token indices that are compared, in order."""
        self.reference = reference
        self.places: Ints = np.array(places, np.int32)
        self.tokens: Ints = np.zeros(len(places), np.int32)
        """The token that stands at each."""
        self.base = ModelTrack(len(places))
        self.candidates = [ComparedModel(name, len(places)) for name in candidates]
        self.done = 0
        """Places compared so far."""
        self._scratch, self._scratch_beside = RowScratch(), RowScratch()
        """The reference's and a candidate's."""

    def add(
        self, base: RowsOrScores, rows: Sequence[RowsOrScores], tokens: Integers, *, raw: bool
    ) -> None:
        """Take in the next n places: the reference's rows, and each candidate's, shape (n, size);
        of a source whose rows are not whole, how it saw the tokens. The running figures are marked
        after them.

        `raw`: the reference's are logits; otherwise logprobs, which count as they are.
        """
        size = max(1 if isinstance(one, ScoredTokens) else one.shape[1] for one in (base, *rows))
        for part in blocks(len(tokens), size):
            see_base = see_logits if raw else see_logprobs
            whole = counted = None
            if isinstance(base, ScoredTokens):
                seen = base[part]
            else:
                whole = see_base(base[part], tokens[part], self._scratch)
                seen, counted = whole.tokens, counted_mass(whole, self._scratch)
            where = slice(self.done, self.done + len(seen))
            self.tokens[where] = tokens[part]
            self.base.put(where, seen)
            for candidate, model_rows in zip(self.candidates, rows, strict=True):
                if isinstance(model_rows, ScoredTokens):
                    candidate.put(where, seen, _uncompared(model_rows[part]))
                    continue
                theirs = see_logits(model_rows[part], tokens[part], self._scratch_beside)
                if whole is None or counted is None:
                    candidate.put(where, seen, _uncompared(theirs.tokens))
                    continue
                compared = ComparedTokens(theirs.tokens, divergence(whole, counted, theirs))
                candidate.put(where, seen, compared)
                candidate.note(self.done, whole, theirs, compared.kld, self._scratch_beside)
            self.done = where.stop
        for candidate in self.candidates:
            candidate.statistics.mark()

    def figures(self, candidate: ComparedModel) -> dict[str, Estimate]:
        """The final figures of a candidate."""
        done = slice(0, self.done)
        dp = np.exp(candidate.track.logprob[done].astype(np.float64))
        dp -= np.exp(self.base.logprob[done].astype(np.float64))
        return candidate.statistics.figures(candidate.track.kld[done].astype(np.float64), dp)

    def divergences(self, candidate: ComparedModel) -> Iterator[int]:
        """Numbers of the places where the candidate's first choice is known to be another."""
        own, base = candidate.track.choice[: self.done], self.base.choice[: self.done]
        yield from np.flatnonzero((own != base) & (own != UNTOLD) & (base != UNTOLD)).tolist()


def _uncompared(seen: ScoredTokens) -> ComparedTokens:
    """A model that cannot be compared but by what it makes of the text's own tokens."""
    return ComparedTokens(seen, np.full(len(seen), np.nan))
