"""Whole rows from any backend, part by part."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llterm.core.mixing.listing import row_of
from llterm.core.mixing.pools import LEAST
from llterm.core.query import Backend, Whole
from llterm.core.tokens import Tail

PART = 128
"""Tokens read at a time."""
SERVED = 1000
"""Candidates asked of a server that names no limit."""

_FLOOR = np.log(LEAST)
"""What is not listed, or was dropped, is not impossible."""

Numbers = NDArray[np.floating[Any]]


async def rows_of(backend: Backend, tokens: Tail, first: int, *, aside: bool = False) -> Numbers:
    """Whole rows before the tokens from `first` on, shape (len(tokens) - first, size).

    Of a source that lists only its best candidates they are an estimate: see `row_of`. `aside`: see
    `Whole`.
    """
    parts: list[Numbers] = []
    if isinstance(backend, Whole):
        async with aclosing(backend.rows(tokens, first, aside=aside)) as whole:
            async for part in whole:
                parts.append(part.logits)
    else:
        size, able = backend.vocabulary.size, backend.capabilities
        keep = size if able.full_vocabulary else able.top or SERVED
        async with aclosing(backend.score(tokens, first, keep)) as scores:
            async for scored in scores:
                row = np.maximum(row_of(scored.distribution, size), _FLOOR)
                parts.append(row[None, :])
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
