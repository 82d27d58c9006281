"""The candidates of many rows while their chains run over them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Bits, Reals
from llterm.core.logit_rows import Integers
from llterm.core.sampling.candidates import Candidates

T = TypeVar("T", bound=np.generic)

_BINS = 128
"""Depths that candidates are sorted into; only those of one of them are sorted further."""
_ROUNDING = 2.0**-50
"""A sum of n positive numbers is off by n × 2⁻⁵³ of it at the most; there are a few of them."""


class Selection(NamedTuple):
    """Which candidates of n rows are the best."""

    keep: Bits
    """Of each candidate."""
    reached: Bits
    """Shape (n,): the row's candidates come to its limit; where they do not, all are kept."""
    sure: Bits
    """Shape (n,): rounding cannot have moved the border."""


class DrawnPlaces(NamedTuple):
    """What was drawn of n rows; arrays of shape (n,)."""

    ids: Integers
    p: Reals
    sure: Bits
    """Rounding cannot have decided between two."""


@dataclass(slots=True, eq=False)
class RaggedCandidates:
    """Those of one row after those of the other, each row's ascending by id; every row has one."""

    row: NDArray[np.intp]
    """Of each candidate, ascending; the rows are numbered from 0."""
    ids: Integers
    logits: Reals
    starts: NDArray[np.intp]
    """Where each row begins, shape (rows,)."""
    _counts: NDArray[np.intp] | None = None
    _below: Reals | None = None
    _weights: Reals | None = None

    def only(self, keep: Bits, *, best: bool = True) -> RaggedCandidates:
        """Those marked, of each row one at least; `best`: the best one is."""
        places = np.flatnonzero(keep)
        starts = np.searchsorted(places, self.starts)
        left = RaggedCandidates(
            self.row.take(places), self.ids.take(places), self.logits.take(places), starts
        )
        if best and self._below is not None:
            left._below = self._below.take(places)
        if best and self._weights is not None:
            left._weights = self._weights.take(places)
        return left

    def of_rows(self, wanted: Bits) -> RaggedCandidates:
        """Those of the rows marked, which are numbered anew."""
        if wanted.all():
            return self
        places = np.flatnonzero(wanted[self.row])
        row = (np.cumsum(wanted) - 1)[self.row[places]]
        starts = np.searchsorted(places, self.starts[wanted])
        return RaggedCandidates(row, self.ids[places], self.logits[places], starts)

    def with_logits(self, logits: Reals) -> RaggedCandidates:
        return RaggedCandidates(self.row, self.ids, logits, self.starts, self._counts)

    def of_row(self, index: int) -> Candidates:
        own = slice(*self._bounds[index : index + 2])
        return Candidates(self.ids[own].astype(np.int32), self.logits[own])

    @property
    def _bounds(self) -> NDArray[np.intp]:
        return np.append(self.starts, len(self.row))

    @property
    def counts(self) -> NDArray[np.intp]:
        """How many each row has."""
        if self._counts is None:
            self._counts = np.diff(self.starts, append=len(self.row))
        return self._counts

    def each(self, values: NDArray[T]) -> NDArray[T]:
        """Of one value of each row that of each candidate's row."""
        return values.repeat(self.counts)

    def largest(self, values: Reals) -> Reals:
        """Of one value of each candidate the largest of each row."""
        return np.asarray(np.maximum.reduceat(values, self.starts))

    def least(self, values: Reals) -> Reals:
        """The least."""
        return np.asarray(np.minimum.reduceat(values, self.starts))

    @property
    def below(self) -> Reals:
        """Logits less the best one of their row."""
        if self._below is None:
            self._below = self.logits - self.each(self.largest(self.logits))
        return self._below

    @property
    def weights(self) -> Reals:
        """e to the power of these."""
        if self._weights is None:
            self._weights = np.exp(self.below)
        return self._weights

    def sums(self, values: Reals) -> Reals:
        return np.asarray(np.add.reduceat(values, self.starts))

    def first(self, depths: Reals, measures: Reals, limits: Reals, slack: Reals) -> Selection:
        """Each row's candidates, the least deep first and ties by id, until their measures come to
        the row's limit, at least one; a sum nearer to the limit than the slack may be on either
        side of it. No depth is below 0."""
        limits = np.maximum(limits, np.finfo(np.float64).tiny)
        scales = (_BINS - 1) / np.maximum(self.largest(depths), 1e-290)
        count = len(self.starts)
        rows = np.arange(count)
        # Each row's bins follow those of the row before.
        bins = (depths * self.each(scales)).astype(np.intp)
        bins += self.each(rows * _BINS)
        masses = np.bincount(bins, measures, count * _BINS)
        masses = np.cumsum(masses.reshape(count, _BINS), axis=1)
        crossing = (masses < limits[:, None]).sum(axis=1)
        before = np.where(crossing, masses[rows, crossing - 1], 0.0)
        borders = self.each(rows * _BINS + crossing)
        keep = bins < borders
        # Where a row does not come to its limit its border is the next row's first bin.
        inside = np.flatnonzero(bins == borders)
        inside = inside[np.lexsort((depths[inside], self.row[inside]))]
        row = self.row[inside]
        sums = np.cumsum(measures[inside])
        firsts = np.searchsorted(row, rows)
        skipped = np.concatenate([[0.0], sums])[firsts]
        ends = sums + (before - skipped)[row]
        within = ends - measures[inside] < limits[row]
        # Each row's first is, whatever rounding says.
        within[firsts[firsts < len(row)]] = True
        keep[inside[within]] = True
        sure = (crossing == 0) | (np.abs(before - limits) >= slack)
        sure[row[np.abs(ends - limits[row]) < slack[row]]] = False
        return Selection(keep, crossing < _BINS, sure)

    def drawn(self, chances: Reals, error: float) -> DrawnPlaces:
        """One of each row, as `drawn_place` draws, with these numbers from 0 to 1. `error`: by how
        much of themselves weights may be wrong."""
        weights = self.weights
        ends = np.cumsum(weights)
        lasts = self._bounds[1:] - 1
        begins = ends[self.starts] - weights[self.starts]
        totals = ends[lasts] - begins
        targets = begins + chances * totals
        places = np.searchsorted(ends, targets, side="right").clip(self.starts, lasts)
        errors = ends[-1] * len(ends) * _ROUNDING + totals * error
        chosen = weights[places]
        sure = (places == lasts) | (ends[places] - targets > errors)
        sure &= (places == self.starts) | (targets - (ends[places] - chosen) > errors)
        return DrawnPlaces(self.ids[places], chosen / self.sums(weights), sure)
