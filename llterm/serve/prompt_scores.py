"""What a model says of the tokens of a prompt, for `echo` and `prompt_logprobs`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass

from llterm.core.tokens import Tail
from llterm.engine.whole_rows import cannot_score
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
