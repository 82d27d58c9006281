"""Rows of logits of which tokens are drawn, and what comes of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Bits, Reals
from llterm.core.logit_rows import Floats, Integers
from llterm.core.sampling.ladder import Mirostat
from llterm.core.sampling.sampler_chain import Chain, Situation
from llterm.core.sampling.stage_types import Stage
from llterm.core.sampling.token_counts import TokenCounts
from llterm.core.tokens import Tail

_NO_IDS: Integers = np.empty(0, np.int64)


class RowToDraw(NamedTuple):
    """A row of logits of which a token is drawn."""

    chain: Chain
    """Of a vocabulary that is whole."""
    at: Situation
    line: int = 0
    """With the settings' seed and the place it decides what is drawn."""
    mask: Bits | None = None
    """What a constraint allows, shape (vocabulary size,)."""
    barred: Integers = _NO_IDS
    """Ids, ascending, that may not stand there; a few, beside a mask of all."""
    first: Sequence[tuple[str, Stage]] = ()
    """Stages that run before all but the constraint."""
    top: int = 0
    """Candidates to tell with it."""
    watched: Tail = ()
    """Ids whose logprob is to be told with it."""
    kept: int = 0
    """Candidates that the chain left to tell with it."""
    counted: TokenCounts | None = None
    """The tokens that are penalised, where they are counted already."""


class RowDraw(NamedTuple):
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
    watched: tuple[float, ...] = ()
    """Natural logprobs of the raw model, of the watched ids, in their order."""
    kept: tuple[tuple[int, float], ...] = ()
    """Id and probability of the candidates that the chain left, best first, ties by id."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockFacts:
    """What one pass finds of rows of logits."""

    shifted: Floats
    """Logits below their row's best one, shape (rows, vocabulary size)."""
    best: Reals
    """Each row's largest logit."""
    totals: Reals
    """The sums of e to the power of `shifted`."""
    norms: Reals
    """Their natural logs."""

    def of(self, indexes: Sequence[int]) -> BlockFacts:
        """Those rows, ascending."""
        if len(indexes) == len(self.shifted):
            return self
        own = np.asarray(indexes)
        return BlockFacts(self.shifted[own], self.best[own], self.totals[own], self.norms[own])

    def logprobs(self, row: int, ids: Integers | slice) -> Floats:
        """As the distribution of a row holds them."""
        return np.asarray(self.shifted[row, ids] - self.norms[row], np.float32)

    def logits_of(self, row: int, ids: Integers | slice) -> Reals:
        """As the chain of a row has them."""
        logprobs = self.logprobs(row, ids)
        return np.asarray(logprobs.astype(np.float64) + (self.best[row] + self.norms[row]))

    def logits(self, counts: NDArray[np.intp], flat: NDArray[np.intp]) -> Reals:
        """As the chains of the rows have those at these places of all, of which each row has so
        many."""
        logits = self.shifted.reshape(-1).take(flat) - self.norms.repeat(counts)
        logits = logits.astype(np.float32).astype(np.float64)
        logits += (self.best + self.norms).repeat(counts)
        return np.asarray(logits)
