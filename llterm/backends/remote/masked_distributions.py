"""Distributions under a mask, from a server that takes biases and tells raw probabilities.

Two answers make one: how the allowed tokens share their mass (biased so far up that the others
count for nothing, and told after sampling), and the raw probability of the best of them, which
gives the mass itself: p(allowed) = p_raw(best) / p_share(best).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import numpy as np

from llterm.backends.remote.client import Client, Pair, checked, distribution_of
from llterm.backends.remote.steps import CompletionRequest, CompletionStep
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
        if left:
            shares, bests = await asyncio.gather(
                self._ask(
                    left,
                    CompletionRequest((), _most(left, len(allowed)), favour=allowed, among=True),
                ),
                self._ask(
                    left,
                    CompletionRequest((), max(query.need for query in left) or 1, favour=allowed),
                ),
            )
            if None in shares or None in bests:
                # The choice was part of a character: only the whole list tells of it.
                listed = await self._raw_list(left, WHOLE)
                extra = Cost(requests=2)
                for query, step in zip(left, listed, strict=True):
                    cost = extra + _cost(query, step, first=step is listed[0])
                    extra = Cost()
                    yield Fact(query.path, self._raw(query, step), cost)
                return
            for query, share, best in zip(left, shares, bests, strict=True):
                assert share is not None
                assert best is not None
                cost = _cost(query, share, first=share is shares[0])
                cost += _cost(query, best, first=best is bests[0])
                yield Fact(query.path, self._joined(query, share, best), cost)

    async def _raw_list(self, queries: Sequence[Query], top: int) -> list[CompletionStep]:
        """The raw list, one step a query."""
        steps = await self._ask(
            queries, CompletionRequest((), min(top, self._client.vocabulary.size))
        )
        complete = [step for step in steps if step is not None]
        if len(complete) < len(queries):
            raise BadAnswer(
                "The server left out an answer",
                f"It answered {len(complete)} of {len(queries)} questions.", "Try again.",
            )  # fmt: skip
        return complete

    async def _ask(
        self, queries: Sequence[Query], request: CompletionRequest
    ) -> list[CompletionStep | None]:
        """One step a query, or None where the answer left it out."""
        prompts = [self._client.prompt(query.path) for query in queries]
        by_line: dict[int, CompletionStep] = {}
        async for part in self._client.steps(replace(request, prompts=prompts)):
            by_line.update((step.line, step) for step in part)
        return [by_line.get(line) for line in range(len(queries))]

    def _pairs(self, step: CompletionStep) -> list[Pair]:
        client = self._client
        return checked(client.pairs(step.listed), client.vocabulary.size, client.name)

    def _raw(self, query: Query, step: CompletionStep) -> Distribution:
        """From the raw list alone: `permitted` is the allowed mass on it."""
        assert query.mask is not None
        size = self._client.vocabulary.size
        listed = distribution_of(self._pairs(step), size, exact=True, whole=True)
        p = np.exp(listed.logprobs[query.mask.allowed[listed.ids]].astype(np.float64))
        return replace(listed, permitted=min(float(p.sum()), 1.0))

    def _joined(self, query: Query, share: CompletionStep, best: CompletionStep) -> Distribution:
        size = self._client.vocabulary.size
        assert query.mask is not None
        shares = [pair for pair in self._pairs(share) if query.mask.allowed[pair[1]]]
        raw = self._pairs(best)
        id = self._client.id_of(best.chosen)
        of_best = next((-logprob for logprob, other in shares if other == id), None)
        if id is None or of_best is None or not query.mask.allowed[id]:
            raise BadAnswer(
                "The server does not keep to a bias",
                "It chose a token that was not allowed, or left the chosen one out.",
                "Turn healing and constraints off, or try another server.",
            )
        mass = min(best.chosen.logprob - of_best, 0.0)
        listed = {other: logprob for logprob, other in raw}
        listed.update((other, logprob - mass) for logprob, other in shares if other not in listed)
        known = distribution_of(raw, size, exact=True, whole=True)
        joined = distribution_of(
            [(logprob, other) for other, logprob in listed.items()], size, exact=True, whole=True,
            permitted=math.exp(mass),
        )  # fmt: skip
        # What is unlisted may be more probable than the least of these: the raw list's bounds hold.
        return replace(joined, entropy=known.entropy)


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
