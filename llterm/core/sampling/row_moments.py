"""Sums over whole rows of logits that a standard deviation is made of."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Reals
from llterm.core.logit_rows import (
    Floats,
    Integers,
    RowScratch,
    same_of_rows,
)

_SUMS = 1e-12
"""By how much of itself a sum of float64 may be wrong, and more."""
_ROUNDING = 2.0**-24
"""Of a float32, which logits are, and their squares."""


@dataclass(frozen=True, slots=True, eq=False)
class RowMoments:
    """Of some candidates of each row; arrays of shape (rows,)."""

    count: Reals
    first: Reals
    """The sum of their logits below the row's best."""
    second: Reals
    """The sum of the squares of these."""
    first_error: Reals
    """By how much that may be wrong."""
    second_error: Reals

    @classmethod
    def of(cls, shifted: Floats, scratch: RowScratch) -> RowMoments:
        """Of all. `shifted`, shape (rows, vocabulary size): logits below their row's best; a row
        with one of −∞ has no numbers.

        A chain's logits are rounded once more, as logprobs: each by a rounding of what it is below
        the best and of the row's norm, which is at most ln n.
        """
        height, size = shifted.shape
        squares = np.square(shifted, out=scratch.floats("squares", shifted.shape))
        first = shifted.sum(axis=1, dtype=np.float64)
        second = squares.sum(axis=1, dtype=np.float64)
        norm = math.log(size)
        return cls(
            np.full(height, size, np.float64),
            first,
            second,
            _ROUNDING * (size * norm - first),
            _ROUNDING * (3 * second - 2 * norm * first),
        )

    def without(
        self, shifted: Floats, seen: NDArray[np.intp], row: NDArray[np.intp],
        dropped: Sequence[Integers],
    ) -> RowMoments:  # fmt: skip
        """Less those at these places of all, which are of these rows, and those dropped."""
        count, first, second = self.count.copy(), self.first.copy(), self.second.copy()

        def take(rows: NDArray[np.intp], values: Reals) -> None:
            height = len(count)
            count[:] -= np.bincount(rows, minlength=height)
            first[:] -= np.bincount(rows, values, height)
            second[:] -= np.bincount(rows, values * values, height)

        take(row, shifted.reshape(-1)[seen].astype(np.float64))
        for rows, ids in same_of_rows(dropped):
            values = shifted[rows[:, None], ids].astype(np.float64)
            take(np.repeat(rows, len(ids)), values.reshape(-1))
        return RowMoments(count, first, second, self.first_error, self.second_error)

    @property
    def spread(self) -> Reals:
        """Their standard deviations."""
        return np.sqrt(np.maximum(self.second / self.count - (self.first / self.count) ** 2, 0.0))

    def spread_with(
        self, values: Reals, row: NDArray[np.intp], divisor: Reals
    ) -> tuple[Reals, Reals]:
        """The standard deviations of these over a divisor together with further values, of these
        rows, below the same; and by how much they may be wrong."""
        height = len(self.count)
        count = self.count + np.bincount(row, minlength=height)
        means = (self.first / divisor + np.bincount(row, values, height)) / count
        squares = (self.second / divisor**2 + np.bincount(row, values * values, height)) / count
        variances = squares - means**2
        errors = self.second_error / divisor**2 + 2 * np.abs(means) * self.first_error / divisor
        errors = errors / count + _SUMS * squares
        spreads = np.sqrt(variances)
        return spreads, np.where(errors * 4 < variances, errors / spreads, np.inf)
