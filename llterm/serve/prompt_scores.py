"""What a model says of the tokens of a prompt, for `echo` and `prompt_logprobs`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from llterm.core.tokens import Tail, Vocabulary
from llterm.engine.whole_rows import cannot_score
from llterm.serve.legacy_logprobs import sayable, token_text
from llterm.serve.served_models import ServedModel


@dataclass(frozen=True, slots=True)
class PromptToken:
    """A token of a prompt, and what the model expected there."""

    id: int
    logprob: float
    rank: int
    top: tuple[tuple[int, float], ...]
    """Id and logprob of the best candidates."""


async def prompt_scores(model: ServedModel, tokens: Tail, top: int) -> Sequence[PromptToken]:
    """All tokens but the first, which nothing stands before.

    Raises LltermError: CapabilityMissing where the model's server does not tell.
    """
    if not model.backend.capabilities.score:
        raise cannot_score(model.name)
    if len(tokens) < 2:
        return ()
    scored: list[PromptToken] = []
    async with aclosing(model.backend.score(tokens, 1, max(top, 1))) as scores:
        async for score in scores:
            if not math.isfinite(score.logprob):
                raise cannot_score(model.name)
            listed = score.distribution
            best = dict(zip(listed.ids[:top].tolist(), listed.logprobs[:top].tolist(), strict=True))
            # The same float in both places: lm-eval compares them by ==.
            logprob = best.get(score.id, score.logprob)
            scored.append(PromptToken(score.id, logprob, score.rank, tuple(best.items())))
    return scored


def prompt_rows(
    scores: Sequence[PromptToken], count: int, vocabulary: Vocabulary
) -> list[Mapping[str, Any] | None]:
    """vLLM's `prompt_logprobs`: of each token so many best candidates and itself, by id; the first
    token has none."""
    return [None, *(_row(token, count, vocabulary) for token in scores)]


def _row(token: PromptToken, count: int, vocabulary: Vocabulary) -> Mapping[str, Any]:
    ranked = {id: (value, rank) for rank, (id, value) in enumerate(token.top[:count], 1)}
    ranked.setdefault(token.id, (token.logprob, token.rank))
    return {
        str(id): {
            "logprob": sayable(value),
            "rank": rank,
            "decoded_token": token_text(vocabulary.token(id)),
        }
        for id, (value, rank) in ranked.items()
    }
