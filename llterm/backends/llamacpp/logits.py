"""From rows of logits to distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Distribution, Mask
from llterm.core.query import Query
from llterm.core.tokens import Anchor, Path
from llterm.errors import ModelError

_SLACK = 3.0
"""A first threshold, in nats below the best: a few dozen candidates; lowered where they are few."""


def best_of(logits: NDArray[np.float32], model: str) -> NDArray[np.float32]:
    """The largest logit of each row; no row leaves this backend without it.

    Raises ModelError naming the model where a row holds no numbers (a broken file).
    """
    best: NDArray[np.float32] = logits.max(axis=1)
    check_numbers(best, model, "logits")
    return best


def check_numbers(numbers: NDArray[np.float32], model: str, what: str) -> None:
    """Raises ModelError naming the model where any of these is NaN or infinite (a broken file)."""
    if not np.isfinite(numbers).all():
        raise ModelError(
            f"{model} gives no probabilities",
            f"Its {what} are not numbers (NaN or infinite).",
            "The file may be damaged: compare its checksum, or download it again.",
        )


def read_distributions(
    logits: NDArray[np.float32], queries: Sequence[Query], model: str, *, spread: bool = False
) -> list[Distribution]:
    """One distribution a query from logits of shape (queries, vocabulary size).

    The rows are read together: one `exp` over all of them, and a threshold before any sorting,
    which is a tenth of the cost of partitioning each row. `spread`: with the varentropy too, which
    is a pass more. Raises ModelError as `best_of`.
    """
    best = best_of(logits, model)
    shifted = logits - best[:, None]
    # Far below what float32 can tell from 0, and e^s·s stays a number where a logit is −∞.
    np.maximum(shifted, -200.0, out=shifted)
    p = np.exp(shifted)
    totals = p.sum(axis=1)
    # Σ −p·ln p with p = e^s / t is ln t − Σ e^s·s / t.
    weighted = np.einsum("ij,ij->i", p, shifted) / totals
    norms = np.log(totals)
    entropies = np.maximum((norms - weighted) / math.log(2), 0.0).tolist()
    spreads: list[float] | list[None] = [None] * len(queries)
    if spread:
        # Var(−ln p) = Var(s): the norm is the same for all of a row.
        squares = np.einsum("ij,ij,ij->i", p, shifted, shifted) / totals
        spreads = np.maximum((squares - weighted**2) / math.log(2) ** 2, 0.0).tolist()
    flat = np.flatnonzero(shifted > -_SLACK)
    width = logits.shape[1]
    bounds = np.searchsorted(flat, np.arange(len(queries) + 1) * width).tolist()
    distributions = []
    for index, query in enumerate(queries):
        row, norm = shifted[index], float(norms[index])
        near = flat[bounds[index] : bounds[index + 1]] - index * width
        ids = _top(row, near, query.keep)
        permitted = 1.0
        if query.mask is not None:
            ids, permitted = _masked(row, p[index], ids, query.mask, query.keep)
            permitted = min(permitted / float(totals[index]), 1.0)
        logprobs = row[ids] - np.float32(norm)
        listed = float(np.exp(logprobs).sum())
        distributions.append(
            Distribution(
                ids=ids.astype(np.int32),
                logprobs=logprobs,
                rest=max(1.0 - listed, 0.0) if len(ids) < len(row) else 0.0,
                permitted=permitted,
                entropy=(entropies[index], entropies[index]),
                exact=True,
                full=row - np.float32(norm) if query.full else None,
                log_z=float(best[index]) + norm,
                varentropy=spreads[index],
            )
        )
    return distributions


def read_scores(
    logits: NDArray[np.float32], tokens: Sequence[int], keep: int, model: str
) -> list[tuple[float, int, Distribution]]:
    """For each row the logprob and the rank of its token, and the distribution around it.

    `logits` has shape (tokens, vocabulary size). Ranks begin at 1; of equal ones the lower id
    comes first. Raises ModelError as `best_of`.
    """
    query = Query(Path(Anchor(())), keep)
    distributions = read_distributions(logits, [query] * len(tokens), model, spread=True)
    scores = []
    for row, token, distribution in zip(logits, tokens, distributions, strict=True):
        own = row[token]
        rank = 1 + int((row > own).sum()) + int((row[:token] == own).sum())
        # The distribution's first id is the row's best: its logprob gives the row's norm.
        norm = float(row[distribution.ids[0]]) - float(distribution.logprobs[0])
        scores.append((float(own) - norm, rank, distribution))
    return scores


def _top(row: NDArray[np.float32], near: NDArray[np.int64], keep: int) -> NDArray[np.int64]:
    """Ids of the `keep` largest, descending, ties by id. `near`: ids above the first threshold."""
    slack = _SLACK
    while len(near) < min(keep, len(row)):
        slack += 1.5
        near = np.flatnonzero(row > -slack) if slack < 100 else np.arange(len(row))
    return near[np.argsort(-row[near], kind="stable")[:keep]]


def _masked(
    row: NDArray[np.float32],
    p: NDArray[np.float32],
    ids: NDArray[np.int64],
    mask: Mask,
    keep: int,
) -> tuple[NDArray[np.int64], float]:
    """The listed ids with the top `keep` allowed ones among them, and the allowed mass."""
    allowed = np.flatnonzero(mask.allowed)
    best = allowed[np.argsort(-row[allowed], kind="stable")[:keep]]
    joined = np.union1d(ids, best)
    return joined[np.argsort(-row[joined], kind="stable")], float(p[allowed].sum(dtype=np.float64))
