"""What a stage takes and gives, and the arithmetic stages share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Bits, Ids, Reals
from llterm.core.sampling.sampler_settings import SamplerSettings
from llterm.core.tokens import Tail

Integers = NDArray[np.int64]
Breakers = Mapping[int, Sequence[Tail]]
"""DRY's sequence breakers in tokens: by first token, the tokens that follow it."""


@dataclass(frozen=True, slots=True)
class Position:
    """What stages know of the place that is drawn for."""

    context: Sequence[int]
    """Token ids before it, newest last."""
    breakers: Breakers
    chance: Callable[[], float]
    """Draws from 0 (with) to 1 (without)."""
    mu: float
    """The most surprise that mirostat allows, in bits."""
    listed: int
    """Number of candidates before any stage."""
    _counted: dict[int, tuple[Integers, Integers]] = field(default_factory=dict)

    def counts(self, count: int) -> tuple[Integers, Integers]:
        """The ids among the `count` newest tokens (all of them when it is negative), ascending, and
        how often each occurs there."""
        counted = self._counted.get(count)
        if counted is None:
            ordered = np.sort(np.asarray(newest(self.context, count), np.int64))
            differs = np.ones(len(ordered), np.bool_)
            np.not_equal(ordered[1:], ordered[:-1], out=differs[1:])
            starts = np.flatnonzero(differs)
            counted = ordered[starts], np.append(starts[1:], len(ordered)) - starts
            self._counted[count] = counted
        return counted


class StageResult(NamedTuple):
    """What a stage makes of n candidates."""

    logits: Reals
    """Shape (n,), of the dropped ones too."""
    keep: Bits
    """Shape (n,); False drops."""


Stage = Callable[[SamplerSettings, Ids, Reals, Position], StageResult]
"""Takes ids and finite logits, both of shape (n,), n at least 1. Only bias and ban may drop all."""


def log_softmax(logits: Reals) -> Reals:
    """Natural logprobs, shape (n,), of n finite logits."""
    shifted = logits - logits.max()
    return np.asarray(shifted - math.log(np.exp(shifted).sum()), np.float64)


def ranked(ids: Ids, logits: Reals) -> NDArray[np.intp]:
    """Indexes, shape (n,), the most probable first, ties by ascending id."""
    return np.lexsort((ids, -logits))


def marked(indexes: NDArray[np.intp], count: int) -> Bits:
    """Shape (count,), True at the indexes."""
    marks = np.zeros(count, bool)
    marks[indexes] = True
    return marks


def keep_all(logits: Reals) -> StageResult:
    return StageResult(logits, np.ones(len(logits), bool))


def keep_best(ids: Ids, logits: Reals, count: int = 1) -> StageResult:
    """Keeps the `count` most probable, ties by ascending id; sorts only those at the border."""
    if count >= len(ids):
        return keep_all(logits)
    border = np.partition(logits, -count)[-count]
    keep = logits > border
    tied = np.flatnonzero(logits == border)
    keep[tied[np.argsort(ids[tied])][: count - np.count_nonzero(keep)]] = True
    return StageResult(logits, keep)


def newest(context: Sequence[int], count: int) -> Sequence[int]:
    """The last `count` ids; all of them when it is negative."""
    return context if count < 0 else context[max(len(context) - count, 0) :]


def looked_up(table: Mapping[int, float], ids: Ids) -> Reals:
    """The table's value of each id, shape (n,); 0 where it has none."""
    keys = np.array(sorted(table), np.int64)
    return values_of(keys, np.array([table[key] for key in keys.tolist()], np.float64), ids)


def values_of(keys: Integers, values: Reals, ids: Ids) -> Reals:
    """The value of each id, shape (n,), whose keys are ascending; 0 where it has none."""
    if not len(keys):
        return np.zeros(len(ids))
    places = np.searchsorted(keys, ids).clip(max=len(keys) - 1)
    return np.where(keys[places] == ids, values[places], 0.0)
