"""What a backend tells of a text, part by part: whole rows, or how it saw the tokens."""

from __future__ import annotations

import math
from contextlib import aclosing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llterm.core.comparison.divergence import UNTOLD, ScoredTokens
from llterm.core.mixing.logprob_rows import row_of
from llterm.core.mixing.opinion_pools import LEAST
from llterm.core.query import Backend, ProvidesLogits
from llterm.core.tokens import Tail
from llterm.errors import CapabilityMissing

PART = 128
"""Tokens read at a time by a mix, and compared between two marks of the running figures."""
RANKED = 20
"""Candidates asked of a server where only the tokens' own probabilities are wanted: a token's rank
is known where it is among them."""

_FLOOR = np.log(LEAST)
"""What was dropped is not impossible."""

Numbers = NDArray[np.floating[Any]]


async def rows_of(backend: Backend, tokens: Tail, first: int, *, aside: bool = False) -> Numbers:
    """Whole rows before the tokens from `first` on, shape (len(tokens) - first, size).

    The backend tells its whole vocabulary. `aside`: see `ProvidesLogits`.
    """
    parts: list[Numbers] = []
    if isinstance(backend, ProvidesLogits):
        async with aclosing(backend.rows(tokens, first, aside=aside)) as whole:
            async for part in whole:
                parts.append(part.logits)
    else:
        size = backend.vocabulary.size
        async with aclosing(backend.score(tokens, first, size)) as scores:
            async for scored in scores:
                row = np.maximum(row_of(scored.distribution, size), _FLOOR)
                parts.append(row[None, :])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


async def rows_or_scores(backend: Backend, tokens: Tail, first: int) -> Numbers | ScoredTokens:
    """Whole rows as `rows_of`; of a source that lists only its best candidates, how it saw the
    tokens from `first` on, exactly. Nothing is estimated.

    Raises CapabilityMissing where it does not tell the probability of a given text.
    """
    if backend.capabilities.full_vocabulary:
        return await rows_of(backend, tokens, first)
    seen: list[tuple[float, int, int, float]] = []
    async with aclosing(backend.score(tokens, first, RANKED)) as scores:
        async for scored in scores:
            listed = scored.distribution
            if not np.isfinite(scored.logprob):
                raise cannot_score(backend.name)
            rank = scored.rank if scored.id in listed.ids else 0
            best, best_p = int(listed.ids[0]), float(np.exp(listed.logprobs[0]))
            if not listed.certain:
                best, best_p = UNTOLD, math.nan
            seen.append((scored.logprob, rank, best, best_p))
    if len(seen) != len(tokens) - first:
        raise cannot_score(backend.name)
    logprobs, ranks, choices, sure = map(np.array, zip(*seen, strict=True))
    return ScoredTokens(logprobs, ranks, choices, sure)


def cannot_score(name: str) -> CapabilityMissing:
    """A source that lists a few candidates and tells nothing of other tokens."""
    return CapabilityMissing(
        f"{name} cannot be compared",
        "It tells the probabilities of its best candidates, not those of a given text's tokens.",
        "vLLM, SGLang, llama.cpp's server and servers with `echo` can; or a model in process.",
    )
