"""Draws a token of each of several rows of logits, by the chain of each, row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llterm.backends.llamacpp.logits import read_distributions
from llterm.core.distribution import Bits, Distribution
from llterm.core.logit_rows import RowScratch
from llterm.core.query import Query
from llterm.core.sampling.ladder import Mirostat, NoCandidateLeft
from llterm.core.sampling.sampler_chain import Chain, Situation
from llterm.core.sampling.stage_types import Stage
from llterm.core.tokens import Anchor, Path


@dataclass(frozen=True, slots=True, eq=False)
class RowToDraw:
    """A row of logits of which a token is drawn."""

    chain: Chain
    at: Situation
    line: int = 0
    """With the settings' seed and the place it decides what is drawn."""
    mask: Bits | None = None
    """What a constraint allows, shape (vocabulary size,)."""
    first: Sequence[tuple[str, Stage]] = ()
    """Stages that run before all but the constraint."""
    top: int = 0
    """Candidates to tell with it."""


@dataclass(frozen=True, slots=True)
class RowDraw:
    """A token that was drawn of a row."""

    id: int
    logprob: float
    """Natural, of the raw model."""
    p: float
    """What it was drawn with, after the chain."""
    mirostat: Mirostat | None
    """What it remembers for the next one; None without mirostat."""
    top: tuple[tuple[int, float], ...] = ()
    """Id and natural logprob of the raw model's best candidates, best first, ties by id."""


class BlockDrawing:
    """Draws from rows of one vocabulary. For one thread at a time."""

    def __init__(self, model: str) -> None:
        """`model` is named where a row holds no numbers."""
        self._model = model
        self._scratch = RowScratch()

    def draw(
        self, logits: NDArray[np.float32], rows: Sequence[RowToDraw]
    ) -> Sequence[RowDraw | None]:
        """A token of each row; None where nothing may stand there. Nothing refers to `logits`,
        shape (rows, vocabulary size), afterwards. Raises ModelError."""
        queries = [Query(_ANYWHERE, max(row.top, 1), full=True) for row in rows]
        distributions = read_distributions(logits, queries, self._model, self._scratch)
        return [_drawn(row, each) for row, each in zip(rows, distributions, strict=True)]


_ANYWHERE = Path(Anchor(()))


def _drawn(row: RowToDraw, distribution: Distribution) -> RowDraw | None:
    try:
        choice = row.chain.draw(distribution, row.at, line=row.line, mask=row.mask, first=row.first)
    except NoCandidateLeft:
        return None
    assert distribution.full is not None
    listed = zip(distribution.ids.tolist(), distribution.logprobs.tolist(), strict=True)
    return RowDraw(
        choice.id,
        float(distribution.full[choice.id]),
        choice.p,
        choice.mirostat,
        tuple(listed)[: row.top],
    )
