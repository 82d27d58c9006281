"""Mirostat (arXiv 2007.14966): keeps the surprise of what is drawn near a target.

Follows `llama_sampler_mirostat_apply` and `llama_sampler_mirostat_v2_apply` of llama.cpp.
"""

from __future__ import annotations

import math

import numpy as np

from llterm.core.distribution import Ids, Reals
from llterm.core.sampling.sampler_settings import SamplerSettings
from llterm.core.sampling.stage_types import Position, StageResult, keep_all, keep_best, log_softmax

_MOST_RANKS = 100  # what llama.cpp's common/sampling.cpp gives as `m`


def mirostat_1(
    settings: SamplerSettings, ids: Ids, logits: Reals, position: Position
) -> StageResult:
    """Top-k, with k from an estimate of Zipf's exponent over the best candidates."""
    best = np.sort(log_softmax(logits))[::-1][:_MOST_RANKS]
    if len(best) < 2:
        return keep_all(logits)
    ranks = np.arange(1, len(best))
    steps = np.log((ranks + 1) / ranks)
    # A flat distribution divides by zero here: not a number means 1, infinity all of them.
    # llama.cpp casts both to int, which its compiler leaves open; ARM's hardware does the same.
    with np.errstate(all="ignore"):
        exponent = np.float64(steps @ -np.diff(best) / (steps @ steps))
        excess = exponent - 1
        spread = 1 - np.float64(position.listed) ** -excess
        count = (excess * np.exp2(position.mu) / spread) ** (1 / exponent)
    if math.isnan(count):
        return keep_best(ids, logits)
    return keep_best(ids, logits, max(int(min(count, len(ids))), 1))


def mirostat_2(
    settings: SamplerSettings, ids: Ids, logits: Reals, position: Position
) -> StageResult:
    """Drops whatever surprises by more than mu, but never the best."""
    surprise = -log_softmax(logits) / math.log(2)
    return StageResult(logits, (surprise <= position.mu) | keep_best(ids, logits).keep)
