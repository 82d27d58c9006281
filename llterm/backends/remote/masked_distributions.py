"""Distributions under a mask, from a server that takes biases and tells raw probabilities.

Two answers make one: how the allowed tokens share their mass (biased so far up that the others
count for nothing, and told after sampling), and the raw probability of the best of them, which
gives the mass itself: p(allowed) = p_raw(best) / p_share(best). Where the best may be a part of a
character, which would lose the answer, a plain token stands beside them and is the choice.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from llterm.backends.remote.client import Client, Pair, checked, distribution_of
from llterm.backends.remote.plain_companion import by_line, is_partial, raw_beside
from llterm.backends.remote.steps import (
    CompletionRequest,
    CompletionStep,
    Prompt,
    TokenCandidate,
)
from llterm.backends.remote.transport import BadAnswer
from llterm.core.distribution import Distribution
from llterm.core.query import Cost, Fact, Query
from llterm.core.tokens import Tail

MANY = 1000
"""With more allowed tokens than this, the raw list is tried first: a bias takes ten bytes each."""
LISTED = 200
WHOLE = 100_000
"""Most candidates that a list may have where nothing less will do."""
UNSEEN = 1e-3
"""Share of the allowed mass that may stay unseen on a raw list."""


class MaskedDistributions:
    """Asks under masks; several questions under one mask go together."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact]:
        """One fact a query; all have the same mask. Raises LltermError."""
        mask = queries[0].mask
        assert mask is not None
        allowed: Tail = tuple(np.flatnonzero(mask.allowed).tolist())
        left = list(queries)
        if len(allowed) > MANY or not allowed:
            listed = await self._raw_list(left, LISTED)
            left = []
            for query, step in zip(queries, listed, strict=True):
                raw = self._raw(query, step)
                if allowed and not _enough(raw, query):
                    left.append(query)
                    continue
                yield Fact(query.path, raw, _cost(query, step, first=step is listed[0]))
        if left and len(allowed) <= MANY and self._has_partial(allowed):
            facts = await self._with_a_plain_one(left, allowed)
            left = [] if facts else left
            for fact in facts:
                yield fact
        if left:
            for fact in await self._by_their_best(left, allowed):
                yield fact

    async def _with_a_plain_one(self, queries: Sequence[Query], allowed: Tail) -> list[Fact]:
        """Where parts of characters are allowed; nothing where a place was left out even so."""
        answers = await raw_beside(self._client, self._prompts(queries), allowed, _need(queries))
        complete = [answer for answer in answers if answer is not None]
        if len(complete) < len(queries):
            return []
        facts = []
        for query, answer in zip(queries, complete, strict=True):
            first = answer is complete[0]
            cost = _cost(query, answer.shares, first=first) + _cost(query, answer.raw, first=first)
            mass = min(math.fsum(map(math.exp, answer.logprobs.values())), 1.0)
            raw = self._pairs(answer.raw.listed)
            facts.append(Fact(query.path, self._joined(raw, answer.logprobs, mass), cost))
        return facts

    async def _by_their_best(self, queries: Sequence[Query], allowed: Tail) -> list[Fact]:
        """Where the best of the allowed tokens is the choice."""
        prompts = self._prompts(queries)
        shares, bests = await asyncio.gather(
            by_line(
                self._client,
                CompletionRequest(
                    prompts, _most(queries, len(allowed)), favour=allowed, among=True
                ),
            ),
            by_line(self._client, CompletionRequest(prompts, _need(queries), favour=allowed)),
        )
        facts, extra = [], Cost()
        if None in shares or None in bests:
            # The choice was part of a character: only the whole list tells of it.
            extra = Cost(requests=2)
            listed = await self._raw_list(queries, WHOLE)
            for query, step in zip(queries, listed, strict=True):
                cost = extra + _cost(query, step, first=step is listed[0])
                extra = Cost()
                facts.append(Fact(query.path, self._raw(query, step), cost))
            return facts
        for query, share, best in zip(queries, shares, bests, strict=True):
            assert share is not None
            assert best is not None
            cost = _cost(query, share, first=share is shares[0])
            cost += _cost(query, best, first=best is bests[0])
            shared, mass = self._raw_of_shares(query, share, best)
            raw = self._pairs(best.listed)
            facts.append(Fact(query.path, self._joined(raw, shared, mass), cost))
        return facts

    def _has_partial(self, ids: Tail) -> bool:
        token = self._client.vocabulary.token
        return any(is_partial(token(id).data) for id in ids)

    async def _raw_list(self, queries: Sequence[Query], top: int) -> list[CompletionStep]:
        """The raw list, one step a query."""
        most = min(top, self._client.vocabulary.size)
        steps = await by_line(self._client, CompletionRequest(self._prompts(queries), most))
        complete = [step for step in steps if step is not None]
        if len(complete) < len(queries):
            raise BadAnswer(
                "The server left out an answer",
                f"It answered {len(complete)} of {len(queries)} questions.", "Try again.",
            )  # fmt: skip
        return complete

    def _prompts(self, queries: Sequence[Query]) -> list[Prompt]:
        return [self._client.prompt(query.path) for query in queries]

    def _pairs(self, listed: Iterable[TokenCandidate]) -> list[Pair]:
        client = self._client
        return checked(client.pairs(listed), client.vocabulary.size, client.name)

    def _raw(self, query: Query, step: CompletionStep) -> Distribution:
        """From the raw list alone: `permitted` is the allowed mass on it."""
        assert query.mask is not None
        size = self._client.vocabulary.size
        listed = distribution_of(self._pairs(step.listed), size, exact=True, whole=True)
        p = np.exp(listed.logprobs[query.mask.allowed[listed.ids]].astype(np.float64))
        return replace(listed, permitted=min(float(p.sum()), 1.0))

    def _raw_of_shares(
        self, query: Query, share: CompletionStep, best: CompletionStep
    ) -> tuple[dict[int, float], float]:
        """Raw logprobs of allowed tokens from how they share their mass, and that mass.

        Raises BadAnswer.
        """
        assert query.mask is not None
        shares = {id: -less for less, id in self._pairs(share.listed) if query.mask.allowed[id]}
        id = self._client.id_of(best.chosen)
        if id not in shares or not query.mask.allowed[id]:
            raise BadAnswer(
                "The server does not keep to a bias",
                "It chose a token that was not allowed, or left the chosen one out.",
                "Turn healing and constraints off, or try another server.",
            )
        mass = min(best.chosen.logprob - shares[id], 0.0)
        return {other: logprob + mass for other, logprob in shares.items()}, math.exp(mass)

    def _joined(
        self, raw: Sequence[Pair], logprobs: Mapping[int, float], mass: float
    ) -> Distribution:
        """The raw list and the allowed tokens, whose logprobs and mass are told beside it."""
        size = self._client.vocabulary.size
        listed = {id: less for less, id in raw}
        allowed = {id: -logprob for id, logprob in logprobs.items() if logprob > -math.inf}
        listed.update((id, less) for id, less in allowed.items() if id not in listed)
        joined = distribution_of(
            [(less, id) for id, less in listed.items()], size, exact=True, whole=True,
            permitted=mass,
        )  # fmt: skip
        # What is unlisted may be more probable than the least of these: the raw list's bounds hold.
        known = distribution_of(raw, size, exact=True, whole=True)
        return replace(joined, entropy=known.entropy)


def _need(queries: Sequence[Query]) -> int:
    return max(query.need for query in queries) or 1


def _most(queries: Sequence[Query], allowed: int) -> int:
    return min(max(max(query.keep, query.need) for query in queries), allowed)


def _enough(raw: Distribution, query: Query) -> bool:
    """Whether the raw list holds all that matters of the allowed tokens."""
    assert query.mask is not None
    count = int(query.mask.allowed[raw.ids].sum())
    return raw.rest <= 0.0 or (
        count >= query.need and raw.rest <= UNSEEN * raw.permitted and raw.permitted > 0.0
    )


def _cost(query: Query, step: CompletionStep, *, first: bool) -> Cost:
    story = max(step.evaluated - len(query.path.tail), 0)
    return Cost(step.evaluated, story, requests=int(first))
