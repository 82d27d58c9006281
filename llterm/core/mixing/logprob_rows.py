"""Between a whole row of logprobs and a distribution that lists its best candidates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Distribution, Mask, Reals


def row_of(distribution: Distribution, size: int) -> Reals:
    """Every id's logprob, shape (size,).

    Of a source that lists only its top candidates the rest of the mass is spread evenly over the
    ids it does not list: none of them gets more than the last one that is listed.
    """
    if distribution.full is not None:
        return np.asarray(distribution.full, np.float64)
    row = np.full(size, -math.inf)
    left = size - len(distribution.ids)
    if left > 0 and distribution.rest > 0:
        row[:] = math.log(distribution.rest / left)
    row[distribution.ids] = distribution.logprobs
    return row


def distribution_of(
    row: NDArray[np.floating[Any]],
    keep: int,
    mask: Mask | None = None,
    *,
    full: bool = False,
    exact: bool = True,
    unknown: float = 0.0,
) -> Distribution:
    """The best `keep` candidates of a row of logprobs, shape (n,); impossible ids are not listed.

    `unknown`: mass that the row only estimates; the mass not listed is never said to be less.
    """
    p = np.exp(np.asarray(row, np.float64))
    ids = best_ids(row, np.flatnonzero(row > -np.inf), keep)
    permitted = 1.0
    if mask is not None:
        allowed = best_ids(row, np.flatnonzero(mask.allowed & (row > -np.inf)), keep)
        ids = np.union1d(ids, allowed)
        ids = ids[np.lexsort((ids, -row[ids]))]
        permitted = min(float(p[mask.allowed].sum()), 1.0)
    listed = float(p[ids].sum())
    rest = max(1.0 - listed, 0.0) if len(ids) < np.count_nonzero(p) else 0.0
    entropy = _entropy(p[p > 0])
    return Distribution(
        ids=ids.astype(np.int32),
        logprobs=np.asarray(row[ids], np.float32),
        rest=max(rest, unknown),
        permitted=permitted,
        entropy=(entropy, entropy) if exact else (_entropy(p[ids]), math.log2(len(row))),
        exact=exact,
        full=np.asarray(row, np.float32) if full else None,
    )


def best_ids(row: NDArray[np.floating[Any]], ids: NDArray[np.intp], keep: int) -> NDArray[np.intp]:
    """The `keep` most probable of these ids, in descending order, ties by id."""
    if keep < len(ids):
        border = np.partition(row[ids], len(ids) - keep)[len(ids) - keep]
        ids = ids[row[ids] >= border]
    return ids[np.lexsort((ids, -row[ids]))][:keep]


def _entropy(p: Reals) -> float:
    """In bits, of probabilities above 0."""
    return max(-float(p @ np.log2(p)), 0.0)
