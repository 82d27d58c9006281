"""From rows of logits to distributions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Distribution, Mask, Reals
from llterm.core.logit_rows import (
    RowScratch,
    best_ids_of_rows,
    blocks,
    exponentials,
    moments,
    ranks,
)
from llterm.core.query import Cost, Query, ScoreColumns
from llterm.errors import ModelError


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
    logits: NDArray[np.float32],
    queries: Sequence[Query],
    model: str,
    scratch: RowScratch,
    *,
    spread: bool = False,
) -> list[Distribution]:
    """One distribution a query from logits of shape (queries, vocabulary size).

    `spread`: with the varentropy too, which is a pass more. Raises ModelError as `best_of`.
    """
    distributions: list[Distribution] = []
    for part in blocks(len(queries), logits.shape[1]):
        distributions += _block(logits[part], queries[part], model, scratch, spread=spread)
    return distributions


def _block(logits: NDArray[np.float32], queries: Sequence[Query], model: str, scratch: RowScratch,
           *, spread: bool) -> Iterator[Distribution]:  # fmt: skip
    best = best_of(logits, model)
    shifted, powers, totals = exponentials(logits, best, scratch)
    entropies, spreads = moments(shifted, powers, totals, scratch, spread=spread)
    norms = np.log(totals)
    ids, logprobs = _listed(shifted, norms, max(query.keep for query in queries), scratch)
    mass = np.exp(logprobs).cumsum(axis=1, dtype=np.float64)
    whole = logits.shape[1]
    figures = zip(
        queries, ids, logprobs, mass, entropies.tolist(), (best + norms).tolist(),
        repeat(None) if spreads is None else spreads.tolist(), strict=False,
    )  # fmt: skip
    for index, (query, row_ids, row_logprobs, sums, entropy, log_z, variance) in enumerate(figures):
        keep = min(query.keep, whole)
        row_ids, row_logprobs = row_ids[:keep], row_logprobs[:keep]
        known, permitted = float(sums[keep - 1]) if keep else 0.0, 1.0
        if query.mask is not None:
            row_ids, permitted = _masked(
                shifted[index], powers[index], row_ids, query.mask, query.keep
            )
            permitted = min(permitted / float(totals[index]), 1.0)
            row_logprobs = (shifted[index, row_ids] - norms[index]).astype(np.float32)
            known = float(np.exp(row_logprobs).sum())
        yield Distribution(
            ids=row_ids,
            logprobs=row_logprobs,
            rest=max(1.0 - known, 0.0) if len(row_ids) < whole else 0.0,
            permitted=permitted,
            entropy=(entropy, entropy),
            exact=True,
            full=(shifted[index] - norms[index]).astype(np.float32) if query.full else None,
            log_z=log_z,
            varentropy=variance,
        )


def read_scores(
    logits: NDArray[np.float32],
    tokens: Sequence[int],
    keep: int,
    model: str,
    scratch: RowScratch,
    first: int,
    cost: Cost,
) -> ScoreColumns:
    """How the tokens, the first of which has the index `first`, stand in their rows.

    `logits` has shape (tokens, vocabulary size). Ranks begin at 1; of equal ones the lower id
    comes first. Raises ModelError as `best_of`.
    """
    ids = np.array(tokens, np.int32)
    keep = min(keep, logits.shape[1])
    listed, below = np.empty((len(ids), keep), np.int32), np.empty((len(ids), keep), np.float32)
    logprobs, rests, entropies, varentropies, log_zs = np.empty((5, len(ids)))
    places = np.empty(len(ids), np.int64)
    rests[:] = 0.0 if keep else 1.0
    for part in blocks(len(ids), logits.shape[1]):
        rows, own = logits[part], ids[part].astype(np.int64)
        best = best_of(rows, model)
        shifted, powers, totals = exponentials(rows, best, scratch)
        entropies[part], varentropies[part] = moments(shifted, powers, totals, scratch, spread=True)
        norms = np.log(totals)
        listed[part], below[part] = _listed(shifted, norms, keep, scratch)
        if 0 < keep < logits.shape[1]:
            rests[part] = 1.0 - np.exp(below[part]).cumsum(axis=1, dtype=np.float64)[:, -1]
        log_zs[part] = best + norms
        logprobs[part] = rows[np.arange(len(own)), own] - log_zs[part]
        places[part] = ranks(rows, own, scratch)
    return ScoreColumns(
        first, ids, logprobs, places, listed, below, np.maximum(rests, 0.0), entropies,
        varentropies, log_zs, cost,
    )  # fmt: skip


def _listed(
    shifted: NDArray[np.float32], norms: Reals, keep: int, scratch: RowScratch
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The best ids of each row and their logprobs, shape (rows, keep) or the whole rows."""
    listed = best_ids_of_rows(shifted, keep, scratch)
    below = np.take_along_axis(shifted, listed, axis=1)
    return listed.astype(np.int32), (below - norms[:, None]).astype(np.float32)


def _masked(
    row: NDArray[np.float32],
    p: NDArray[np.float32],
    ids: NDArray[np.int32],
    mask: Mask,
    keep: int,
) -> tuple[NDArray[np.int32], float]:
    """The listed ids with the top `keep` allowed ones among them, and the allowed mass."""
    allowed = np.flatnonzero(mask.allowed)
    best = allowed[np.argsort(-row[allowed], kind="stable")[:keep]]
    joined = np.union1d(ids, best)
    joined = joined[np.argsort(-row[joined], kind="stable")].astype(np.int32)
    return joined, float(p[allowed].sum(dtype=np.float64))
