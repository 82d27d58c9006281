"""What may follow a text: every candidate, before and after the sampler chain."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, replace

from llterm.core.distribution import Distribution
from llterm.core.query import Backend, Cost, Failed, Query
from llterm.core.sampling.candidates import NoCandidateLeft
from llterm.core.sampling.ladder import Ladder
from llterm.core.sampling.sampler_chain import Chains, Situation
from llterm.core.tokens import Anchor, Path, Vocabulary
from llterm.engine.draw import MOST_LISTED, STORY
from llterm.errors import LltermError, UsageError
from llterm.jobs.request import Request, RequestStory
from llterm.jobs.runner import SILENCE, Listener, names_of, opened


@dataclass(frozen=True, slots=True, eq=False)
class NextTokenResult:
    """The place after a text."""

    model: str
    vocabulary: Vocabulary
    distribution: Distribution
    ladder: Ladder | None
    """What constraint and sampler chain make of the candidates; None where they leave none."""
    cost: Cost


async def next_token(request: Request, top: int, listener: Listener = SILENCE) -> NextTokenResult:
    """Ask for it. `top`: candidates listed at least, where there are so many. Nothing is healed:
    it is the place right after the text. Raises LltermError. Cancelling stops it."""
    (name,) = names_of(request)
    begun = RequestStory.of(request, listener.warn)
    async with opened(request, listener) as backend:
        return await _asked(begun, backend, name, top)


async def _asked(begun: RequestStory, backend: Backend, name: str, top: int) -> NextTokenResult:
    constraint = await begun.compiled(backend)
    prompt = await begun.prompt(backend, replace(begun.rules, heal=False, depth=1))
    if not prompt.tokens:
        raise UsageError("There is no text to go on from", "", "This model needs a beginning.")
    chain = await Chains(backend.vocabulary).told(begun.sampling)
    mask = None if constraint is None else await asyncio.to_thread(constraint.mask, ())
    whole = backend.capabilities.full_vocabulary
    keep = top if whole else max(top, MOST_LISTED)
    query = Query(Path(Anchor(prompt.tokens)), keep, None if whole else mask, full=whole)
    async with aclosing(backend.ask([query])) as answers:
        async for answer in answers:
            if isinstance(answer, Failed):
                raise answer.error
            distribution, cost = answer.distribution, answer.cost
            at = Situation(prompt.tokens, begun.text[-STORY:])
            try:
                allowed = None if mask is None else mask.allowed
                ladder = await asyncio.to_thread(chain.ladder, distribution, at, mask=allowed)
            except NoCandidateLeft:
                ladder = None
            return NextTokenResult(name, backend.vocabulary, distribution, ladder, cost)
    raise LltermError(f"{name} left a question without an answer", "", "Ask again.")
