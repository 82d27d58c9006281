"""What a comparison has found so far: a few numbers a place, sums, and the worst places."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llterm.core.judging.rows import (
    UNTOLD,
    Judged,
    Reals,
    Seen,
    Wholes,
    best,
    blocks,
    counted,
    judge,
    normalised,
    see,
)
from llterm.core.judging.tally import Figure, Tally

WORST = 10
"""Places kept of each candidate."""
LISTED = 5
"""Tokens listed there."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Logits = NDArray[np.floating[Any]]
Told = Logits | Seen
"""What a model tells of some places: whole rows, or only how it saw the tokens."""


@dataclass(frozen=True, slots=True)
class Worst:
    """A place where a candidate is far from the reference."""

    kld: float
    number: int
    """Which of the compared places it is, from 0."""
    base_top: tuple[tuple[int, float], ...]
    """Tokens and their probabilities, most probable first."""
    top: tuple[tuple[int, float], ...]


class Track:
    """One model at every place: arrays of shape (places,), 20 bytes a place."""

    def __init__(self, count: int) -> None:
        self.logprob: Floats = np.zeros(count, np.float32)
        self.rank: Ints = np.zeros(count, np.int32)
        self.choice: Ints = np.zeros(count, np.int32)
        self.choice_p: Floats = np.zeros(count, np.float32)
        self.kld: Floats = np.zeros(count, np.float32)
        """From the reference; 0 for the reference itself, NaN where it is not known."""

    def put(self, where: slice, seen: Seen, kld: Reals | None = None) -> None:
        self.logprob[where] = seen.logprob
        self.rank[where] = seen.rank
        self.choice[where] = seen.choice
        self.choice_p[where] = seen.choice_p
        if kld is not None:
            self.kld[where] = kld


class Candidate:
    """A model that is compared: its track, its sums, its worst places."""

    def __init__(self, name: str, count: int) -> None:
        self.name = name
        self.track = Track(count)
        self.tally = Tally()
        self._worst: list[tuple[float, int, Worst]] = []

    @property
    def worst(self) -> list[Worst]:
        """The places of greatest divergence, the worst first."""
        return [one for *_, one in sorted(self._worst, reverse=True)]

    @property
    def whole(self) -> bool:
        """Whether its rows and the reference's were whole; otherwise nothing is known that needs
        them."""
        return self.tally.now()["kld"].known

    def put(self, where: slice, seen: Seen, found: Judged) -> None:
        """Take in some places, as the reference saw them and as this model does."""
        self.track.put(where, found.seen, found.kld)
        self.tally.add(seen, found)

    def note(self, begin: int, base: Reals, rows: Reals, found: Judged) -> None:
        """Keep the worst of these places; `begin` is the number of the first of them."""
        least = self._worst[0][0] if len(self._worst) == WORST else -1.0
        for n in np.flatnonzero(found.kld > least).tolist():
            kld = float(found.kld[n])
            if len(self._worst) == WORST and kld <= self._worst[0][0]:
                continue
            number = begin + n
            one = Worst(kld, number, tuple(best(base[n], LISTED)), tuple(best(rows[n], LISTED)))
            push = heapq.heappush if len(self._worst) < WORST else heapq.heappushpop
            push(self._worst, (kld, -number, one))


class Comparison:
    """A reference and its candidates over the places of a text."""

    def __init__(self, reference: str, candidates: Sequence[str], places: Sequence[int]) -> None:
        """`places`: the text's token indices that are compared, in order."""
        self.reference = reference
        self.places: Ints = np.array(places, np.int32)
        self.tokens: Ints = np.zeros(len(places), np.int32)
        """The token that stands at each."""
        self.base = Track(len(places))
        self.candidates = [Candidate(name, len(places)) for name in candidates]
        self.done = 0
        """Places compared so far."""

    def add(self, base: Told, rows: Sequence[Told], tokens: Wholes, *, raw: bool) -> None:
        """Take in the next n places: the reference's rows, and each candidate's, shape (n, size);
        of a source whose rows are not whole, how it saw the tokens. The running figures are marked
        after them.

        `raw`: the reference's are logits; otherwise logprobs, which count as they are.
        """
        size = max(1 if isinstance(one, Seen) else one.shape[1] for one in (base, *rows))
        for part in blocks(len(tokens), size):
            own = p = None
            if isinstance(base, Seen):
                seen = base[part]
            else:
                own = normalised(base[part]) if raw else np.asarray(base[part], np.float64)
                seen, p = see(own, tokens[part]), counted(own)
            where = slice(self.done, self.done + len(seen))
            self.tokens[where] = tokens[part]
            self.base.put(where, seen)
            for candidate, told in zip(self.candidates, rows, strict=True):
                if isinstance(told, Seen):
                    candidate.put(where, seen, _apart(told[part]))
                    continue
                theirs = normalised(told[part])
                if own is None or p is None:
                    candidate.put(where, seen, _apart(see(theirs, tokens[part])))
                    continue
                found = judge(own, p, theirs, tokens[part])
                candidate.put(where, seen, found)
                candidate.note(self.done, own, theirs, found)
            self.done = where.stop
        for candidate in self.candidates:
            candidate.tally.mark()

    def figures(self, candidate: Candidate) -> dict[str, Figure]:
        """The final figures of a candidate."""
        done = slice(0, self.done)
        dp = np.exp(candidate.track.logprob[done].astype(np.float64))
        dp -= np.exp(self.base.logprob[done].astype(np.float64))
        return candidate.tally.figures(candidate.track.kld[done].astype(np.float64), dp)

    def divergences(self, candidate: Candidate) -> Iterator[int]:
        """Numbers of the places where the candidate's first choice is known to be another."""
        own, base = candidate.track.choice[: self.done], self.base.choice[: self.done]
        yield from np.flatnonzero((own != base) & (own != UNTOLD) & (base != UNTOLD)).tolist()


def _apart(seen: Seen) -> Judged:
    """A model that cannot be compared but by what it makes of the text's own tokens."""
    return Judged(seen, np.full(len(seen), np.nan))
