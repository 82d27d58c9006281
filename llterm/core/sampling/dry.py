"""DRY: tokens that would go on with a repetition lose more the longer it is already.

Follows llama.cpp's `llama_sampler_dry_apply` and `get_overlapping_token_sequences`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Ids, Reals
from llterm.core.sampling.sampler_settings import SamplerSettings
from llterm.core.sampling.stage_types import (
    Breakers,
    Position,
    StageResult,
    keep_all,
    looked_up,
    newest,
)
from llterm.core.tokens import Tail, Vocabulary

Integers = NDArray[np.int64]

_LONGEST_TEXT = 40  # bytes of a breaker that llama.cpp reads (MAX_CHAR_LEN)
_LONGEST_TAIL = 20  # tokens after its first (MAX_SEQ_LEN)
_LARGEST_LOG = 88.7228391  # of a float32: llama.cpp lets the penalty grow no further


def breaker_ends(texts: Iterable[str]) -> set[bytes]:
    """The ends of these texts that a token may leave to those after it."""
    breakers = [text.encode()[:_LONGEST_TEXT] for text in texts]
    return {breaker[start:] for breaker in breakers for start in range(1, len(breaker))}


def breaker_tokens(
    vocabulary: Vocabulary,
    texts: Iterable[str],
    ends: Mapping[bytes, Tail],
    ids: Iterable[int] | None = None,
) -> dict[int, list[Tail]]:
    """Every token a text may begin in, with the tokens that then complete it.

    `ends`: the tokens of each of `breaker_ends`. `ids`: the tokens that may stand there; None is
    the whole vocabulary, which takes a while: do it once for a model and its settings.
    """
    followers: dict[int, list[Tail]] = {}
    breakers = [text.encode()[:_LONGEST_TEXT] for text in texts]
    for id in range(vocabulary.size) if ids is None else ids:
        data = vocabulary.token(id).data
        for breaker in breakers:
            if breaker in data:
                followers.setdefault(id, []).append(())
                continue
            for start in range(1, len(breaker)):
                if data.endswith(breaker[:start]):
                    followers.setdefault(id, []).append(ends[breaker[start:]][:_LONGEST_TAIL])
    return followers


def dry(settings: SamplerSettings, ids: Ids, logits: Reals, position: Position) -> StageResult:
    penalties = dry_penalties(settings, position.context, position.breakers)
    return keep_all(logits - looked_up(penalties, ids))


def dry_penalties(
    settings: SamplerSettings, context: Sequence[int], breakers: Breakers
) -> dict[int, float]:
    """What each token loses that would go on with a repetition."""
    context = newest(context, settings.dry_penalty_last_n)
    allowed = settings.dry_allowed_length
    reach = _reach(context, breakers)
    if len(context) <= allowed or reach < allowed:
        return {}
    exponents = _LARGEST_LOG / math.log(max(settings.dry_base, 1.000001))
    newest_first = np.array(context[::-1], np.int64)
    # Lengths past the greatest exponent cost no more: they are not counted out.
    lengths = _repeat_lengths(newest_first, int(min(reach, allowed + exponents)))
    eligible = lengths >= allowed
    # What followed each repetition is the token one nearer to the end.
    tokens, places = np.unique(newest_first[:-1][eligible], return_inverse=True)
    longest = np.zeros(len(tokens), np.int64)
    np.maximum.at(longest, places, lengths[eligible])
    return {
        token: settings.dry_multiplier * settings.dry_base ** (length - allowed)
        for token, length in zip(tokens.tolist(), longest.tolist(), strict=True)
        if () not in breakers.get(token, ())
    }


def _reach(context: Sequence[int], breakers: Breakers) -> int:
    """The number of newest tokens after the last breaker; all of them without one."""
    for age, token in enumerate(reversed(context)):
        start = len(context) - age
        matches = [
            len(tail)
            for tail in breakers.get(token, ())
            if tuple(context[start : start + len(tail)]) == tail
        ]
        if matches:
            return age - max(matches)
    return len(context)


def _repeat_lengths(newest_first: Integers, most: int) -> Integers:
    """For each age 1 to n - 1, how many tokens that end there repeat the newest ones, up to `most`.

    Takes as many passes as the longest repetition has tokens.
    """
    lengths = np.zeros(len(newest_first) - 1, np.int64)
    going = np.arange(1, len(newest_first))
    for length in range(most):
        going = going[going + length < len(newest_first)]
        going = going[newest_first[going + length] == newest_first[length]]
        if not len(going):
            break
        lengths[going - 1] += 1
    return lengths
