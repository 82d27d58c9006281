"""Rows of logits or logprobs, read many at once: in float32, as much at a time as a cache holds.

Only the sums over a row are float64. There is no loop over rows: a row of a small vocabulary costs
less than a call of Python.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Reals

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.floating[Any]]

BLOCK = 1 << 17
"""Numbers worked on at a time: half a megabyte."""
_TAKEN = 1 << 25
"""Most numbers of whole rows that are taken from a model at a time: 128 MiB."""
_MOST_ROWS = 256
"""More rows a decode are no faster, and half as many a fourteenth slower."""
_DEEPEST = np.float32(-200)
"""Far below what float32 can tell from a probability of 0; times 0 it is 0, as −∞ is not."""
_SPARSE, _TAIL = 30, 9
"""Parts of flags: see `RowScratch.places`."""
_GROUPS = 8
"""Groups of ids a wanted one, in which `best_ids_of_rows` looks for the largest."""
GROUP = 64
"""Numbers after another that `sums_of_groups` adds up."""
GROUP_ERROR = GROUP * 2.0**-24
"""By how much of itself such a sum may be wrong."""


class RowScratch:
    """Room for a block's numbers, used again for the next one. For one thread at a time.

    A fresh array for each step would cost more than the step: the system zeroes its pages.
    """

    def __init__(self) -> None:
        self._floats: dict[str, Floats] = {}
        self._flags: Flags = np.empty(0, np.bool_)
        self._integers: NDArray[np.int32] = np.empty(0, np.int32)

    def floats(self, name: str, shape: tuple[int, int]) -> Floats:
        """Room of this shape; what was in the room of that name is gone."""
        count = shape[0] * shape[1]
        room = self._floats.get(name)
        if room is None or len(room) < count:
            room = self._floats[name] = np.empty(count, np.float32)
        return room[:count].reshape(shape)

    def integers(self, count: int) -> NDArray[np.int32]:
        """The one room for integers."""
        if len(self._integers) < count:
            self._integers = np.empty(count, np.int32)
        return self._integers[:count]

    def flags(self, shape: tuple[int, int]) -> Flags:
        """The one room for flags."""
        count = shape[0] * shape[1]
        if len(self._flags) < count + count // _TAIL:
            self._flags = np.empty(count + count // _TAIL, np.bool_)
        return self._flags[:count].reshape(shape)

    def places(self, count: int) -> Integers:
        """Where the first `count` flags of the room are set, ascending.

        NumPy looks for flags one by one where fewer than a tenth are set, and goes through all
        where more are, which takes less time from a thirtieth on. A tail that is set decides it.
        """
        own = self._flags[:count]
        few = np.count_nonzero(own)
        if not count < _SPARSE * few < _SPARSE * count // 10:
            return np.flatnonzero(own)
        tail = count // _TAIL
        self._flags[count : count + tail] = True
        return np.flatnonzero(self._flags[: count + tail])[:-tail]


def rows_at_once(size: int) -> int:
    """How many rows of `size` numbers to take from a model at a time, to be read meanwhile."""
    return min(_MOST_ROWS, max(_TAKEN // max(size, 1), 1))


def blocks(count: int, size: int, numbers: int = BLOCK) -> list[slice]:
    """Slices of `count` rows of `size` numbers, to be worked on one after the other: so many
    numbers at a time, and never less than a row."""
    step = max(numbers // max(size, 1), 1)
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]


def exponentials(
    logits: Numbers, best: Numbers, scratch: RowScratch
) -> tuple[Floats, Floats, Reals]:
    """Logits below their row's best one, e to the power of these, and the rows' sums of that.

    Shapes (n, size), (n, size) and (n,). The natural log of a probability is the first less the
    log of the last. The first two are rooms of the scratch, "shifted" and "powers".
    """
    shifted = np.subtract(logits, best[:, None], out=scratch.floats("shifted", logits.shape))
    powers = np.exp(shifted, out=scratch.floats("powers", logits.shape))
    return shifted, powers, powers.sum(axis=1, dtype=np.float64)


def sums_of_groups(powers: Floats) -> Reals:
    """Of each row, of positive numbers, the sums of groups of ids, the last of what is left; taken
    in float32. Shape (rows, groups)."""
    height, size = powers.shape
    whole = size - size % GROUP
    sums = np.empty((height, whole // GROUP + 1))
    sums[:, :-1] = np.einsum("ijk->ij", powers[:, :whole].reshape(height, -1, GROUP))
    sums[:, -1] = powers[:, whole:].sum(axis=1)
    return sums


def same_of_rows(ids: Sequence[Integers]) -> Iterator[tuple[Integers, Integers]]:
    """The rows, by index, that have the very same array of ids, and that array."""
    rows: dict[int, list[int]] = {}
    for row, own in enumerate(ids):
        rows.setdefault(id(own), []).append(row)
    return ((np.array(same), ids[same[0]]) for same in rows.values())


def set_in_rows(values: NDArray[Any], ids: Sequence[Integers], value: float) -> None:
    """Set the numbers of each row's ids."""
    for rows, own in same_of_rows(ids):
        if len(rows) == len(values):
            values[:, own] = value
        else:
            values[rows[:, None], own] = value


def moments(shifted: Floats, powers: Floats, totals: Reals, scratch: RowScratch,
            *, spread: bool) -> tuple[Reals, Reals | None]:  # fmt: skip
    """Entropy in bits, and with `spread` the varentropy in bits², of what `exponentials` gives.

    Shape (n,) each. Σ −p·ln p with p = e^s / t is ln t − Σ e^s·s / t, and Var(−ln p) = Var(s).
    """
    weighted = scratch.floats("weighted", shifted.shape)
    with np.errstate(invalid="ignore"):  # An impossible token: looked at below.
        np.multiply(powers, shifted, out=weighted)
    firsts = weighted.sum(axis=1, dtype=np.float64)
    if not np.isfinite(firsts).all():
        shifted = np.maximum(shifted, _DEEPEST, out=scratch.floats("no deeper", shifted.shape))
        np.multiply(powers, shifted, out=weighted)
        firsts = weighted.sum(axis=1, dtype=np.float64)
    means = firsts / totals
    entropies = np.maximum((np.log(totals) - means) / math.log(2), 0.0)
    if not spread:
        return entropies, None
    np.multiply(weighted, shifted, out=weighted)
    squares = weighted.sum(axis=1, dtype=np.float64) / totals
    return entropies, np.maximum((squares - means**2) / math.log(2) ** 2, 0.0)


def ranks(rows: Numbers, tokens: Integers, scratch: RowScratch) -> Integers:
    """Of each row's token, shape (n,): 1 = the row's best, ties by id."""
    size = rows.shape[1]
    own = rows[np.arange(len(tokens)), tokens]
    # One pass over all; the few that are as good are told apart afterwards.
    as_good = np.flatnonzero(np.greater_equal(rows, own[:, None], out=scratch.flags(rows.shape)))
    row, id = np.divmod(as_good, size)
    before = (rows[row, id] > own[row]) | (id < tokens[row])
    return np.asarray(1 + np.bincount(row[before], minlength=len(tokens)), np.int64)


def best_ids_of_rows(rows: Numbers, count: int, scratch: RowScratch) -> Integers:
    """The `count` best ids of each row, best first, ties by id; shape (n, count), or all of them.

    The largest of each of many groups of ids are compared first: as many groups as are wanted ids
    hold one that is no less than the least of these, so nothing below it has to be sorted.
    """
    height, size = rows.shape
    count = min(count, size)
    if not height or not count:
        return np.empty((height, count), np.int64)
    least = floors_of_rows(rows, count, scratch)
    near = np.flatnonzero(np.greater_equal(rows, least[:, None], out=scratch.flags(rows.shape)))
    row, id = np.divmod(near, size)
    order = np.lexsort((id, -rows[row, id], row))
    begins = np.searchsorted(row, np.arange(height))
    chosen = order[begins[:, None] + np.arange(count)]
    return np.asarray(id[chosen], np.int64)


def floors_of_rows(rows: Numbers, count: int, scratch: RowScratch) -> Floats:
    """For each row a number that `count` of its own reach or exceed, and few others; shape (n,).

    Where there are too few groups it is −∞.
    """
    height, width = rows.shape
    if width < 2 * _GROUPS * count:
        return np.full(height, -np.inf, np.float32)
    # The second half of the ids is laid upon the first, and so on: a column is a group's largest.
    half = (width + 1) // 2
    groups = scratch.floats("groups", (height, half))
    np.maximum(rows[:, : width - half], rows[:, half:], out=groups[:, : width - half])
    groups[:, width - half :] = rows[:, width - half : half]
    while half >= 2 * _GROUPS * count:
        width, half = half, (half + 1) // 2
        low = groups[:, : width - half]
        np.maximum(low, groups[:, half:width], out=low)
    least = np.partition(groups[:, :half], half - count, axis=1)[:, half - count]
    # Rows of float64 were rounded, up perhaps.
    return np.nextafter(least, np.float32(-np.inf))
