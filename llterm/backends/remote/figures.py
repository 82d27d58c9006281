"""From a server's candidates to a distribution, with every value checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from llterm.backends.remote.wire import BadAnswer
from llterm.core.distribution import Distribution

ROUNDING = 0.02
"""What a sum of probabilities may be above 1: servers round."""

Pair = tuple[float, int]
"""A logprob, negated for sorting, and an id."""


def distribution(
    pairs: Iterable[Pair], size: int, *, exact: bool, whole: bool, permitted: float = 1.0
) -> Distribution:
    """From candidates that `checked` gave; `exact` as in `Distribution`.

    `whole`: none that is more probable than a listed one is missing.
    """
    ordered = sorted(pairs)
    logprobs = np.array([-one for one, _ in ordered], dtype=np.float32)
    ids = np.array([id for _, id in ordered], dtype=np.int32)
    listed = float(np.exp(logprobs.astype(np.float64)).sum())
    rest = max(1.0 - listed, 0.0) if len(ids) < size else 0.0
    return Distribution(
        ids=ids,
        logprobs=logprobs,
        rest=rest,
        permitted=permitted,
        entropy=entropy_bounds(logprobs.astype(np.float64).tolist(), rest, size, whole=whole),
        exact=exact,
        certain=whole or math.exp(logprobs[0]) > rest,
    )


def checked(listed: Iterable[tuple[int, float]], size: int, model: str) -> list[Pair]:
    """Ids with their logprobs, each id once. Impossible ones (−∞) are left out.

    Raises BadAnswer for logprobs that are no such thing, and ids that the vocabulary has not.
    """
    found: dict[int, float] = {}
    total = 0.0
    for id, logprob in listed:
        if not logprob <= ROUNDING:
            raise _wrong(f"it gave a logprob of {logprob:g}, which is no probability", model)
        if not 0 <= id < size:
            raise _wrong(f"it gave token {id:,}; the model's vocabulary has {size:,}", model)
        if logprob > -math.inf and id not in found:
            found[id] = -min(logprob, 0.0)
            total += math.exp(logprob)
    if total > 1.0 + ROUNDING:
        raise _wrong(f"its probabilities add up to {total:.3f}", model)
    return [(logprob, id) for id, logprob in found.items()]


def entropy_bounds(
    logprobs: Sequence[float], rest: float, size: int, *, whole: bool
) -> tuple[float, float]:
    """Bounds of −Σ p·log2 p, in bits, where some candidates are listed and `rest` is not.

    The unlisted ones hold rest·−log2 m bits at least, where m is the most that one of them can
    have: the last listed one's p where none before it is missing, else all of `rest`. At most they
    hold as many as when all of them are equally probable.
    """
    known = -math.fsum(math.exp(one) * one for one in logprobs) / math.log(2)
    others = size - len(logprobs)
    if rest <= 0.0 or others <= 0:
        return known, known
    most = min(math.exp(logprobs[-1]), rest) if whole and logprobs else rest
    least = -rest * math.log2(most)
    return known + least, known + max(least, rest * math.log2(others / rest))


def _wrong(why: str, model: str) -> BadAnswer:
    return BadAnswer(
        f"{model} gives wrong probabilities", f"{why[0].upper()}{why[1:]}.",
        "Its server may be broken, or of another kind than it seems.",
    )  # fmt: skip
