"""Draws for many requests from any backend: a server, a mix, the scripted model.

Each request is a drawing of its own, which asks token by token.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import numpy as np

from llterm.constraints.compiled import compile
from llterm.core.distribution import Bits, Constrained, Distribution, Mask
from llterm.core.held_text import HeldText
from llterm.core.query import Backend, Capabilities
from llterm.core.sampling.ladder import Ladder
from llterm.core.sampling.sampler_chain import Chains
from llterm.core.tokens import Tail, Vocabulary, grows, text_bytes
from llterm.engine.draw import STORY, Drawing, DrawingStart, Drawn, Sample
from llterm.engine.generation import (
    GeneratedToken,
    GenerationEnd,
    GenerationFinish,
    GenerationRequest,
)
from llterm.engine.request_turns import RequestTurns
from llterm.engine.weave import check_constraints
from llterm.errors import CapabilityMissing, LltermError


class BackendGenerator:
    """A `Generator` over a backend, which stays its owner's to close."""

    def __init__(self, backend: Backend, running: int, waiting: int) -> None:
        """`running`: requests drawn at once; `waiting`: most that wait for it."""
        self._backend = backend
        self._turns = RequestTurns(running, waiting)
        self._chains = Chains(backend.vocabulary)
        self._compiling = asyncio.Lock()

    @property
    def name(self) -> str:
        return self._backend.name

    @property
    def vocabulary(self) -> Vocabulary:
        return self._backend.vocabulary

    @property
    def capabilities(self) -> Capabilities:
        return self._backend.capabilities

    @property
    def room(self) -> int:
        return self._backend.capabilities.context

    async def generate(
        self, request: GenerationRequest
    ) -> AsyncGenerator[GeneratedToken | GenerationEnd]:
        """As `Generator.generate`."""
        if not request.most:
            yield GenerationEnd("length")
            return
        async with self._turns.turn(request.whose):
            drawing = await self._drawing(request)
            end = TextEnd(request, self.vocabulary)
            async with aclosing(drawing.run()) as draws:
                async for drawn in draws:
                    # A source that never waits would let nobody else have a turn.
                    await asyncio.sleep(0)
                    yield generated(drawn, request)
                    if end.reached(drawn):
                        # Also where it is the last that may be drawn.
                        drawn.sample.finish = "stop"
            (sample,) = drawing.samples
            if sample.error is not None:
                raise sample.error
            yield GenerationEnd(_finish(sample), _cached(drawing))

    async def _drawing(self, request: GenerationRequest) -> Drawing:
        chain = await self._chains.told(request.sampling)
        start = DrawingStart(request.prompt, text_bytes(self.vocabulary, request.prompt)[-STORY:])
        sample = Sample(request.choice, request.most)
        return Drawing(
            self._backend, chain, start, [sample], constraint=await self._constraint(request)
        )

    async def _constraint(self, request: GenerationRequest) -> Constrained | None:
        constraint: Constrained | None = None
        if request.constraint is not None:
            check_constraints(self._backend)
            async with self._compiling:
                constraint = await asyncio.to_thread(compile, request.constraint, self.vocabulary)
        if request.allowed is None and not request.least and not request.ignore_end:
            return constraint
        if grows(self.vocabulary):
            raise CapabilityMissing(
                f"{self.name} cannot be kept from tokens",
                "Its server tells tokens one by one, so those that must not come are not known.",
                "Leave out what allows, ignores or puts off tokens, or take another model.",
            )
        return AllowedTokens.of(request, self.vocabulary, constraint)


@dataclass(frozen=True, slots=True, eq=False)
class AllowedTokens:
    """What a request lets stand at a place, with the constraint that it may have."""

    allowed: Bits
    """Shape (vocabulary size,); after the first tokens."""
    first: Bits
    """The same for the first `least` tokens: nothing that ends the text."""
    least: int
    constraint: Constrained | None

    @classmethod
    def of(
        cls, request: GenerationRequest, vocabulary: Vocabulary, constraint: Constrained | None
    ) -> AllowedTokens:
        """For one request; reads the whole vocabulary."""
        size = vocabulary.size
        ends = np.array([vocabulary.token(id).end for id in range(size)], np.bool_)
        allowed = np.ones(size, np.bool_)
        if request.allowed is not None:
            allowed = ends.copy()
            allowed[[*request.allowed]] = True
        if request.ignore_end:
            allowed &= ~ends
        first = allowed & ~ends
        first[[*request.stop_ids]] = False
        return cls(allowed, first, request.least, constraint)

    @property
    def texts(self) -> tuple[bytes, ...]:
        return () if self.constraint is None else self.constraint.texts

    def mask(self, tail: Tail) -> Mask:
        """Which ids may follow these drawn tokens."""
        bits = self.first if len(tail) < self.least else self.allowed
        return Mask(bits if self.constraint is None else bits & self.constraint.mask(tail).allowed)


class TextEnd:
    """Whether what was drawn has come to one of the request's stops."""

    def __init__(self, request: GenerationRequest, vocabulary: Vocabulary) -> None:
        self._request = request
        self._vocabulary = vocabulary
        self._text = HeldText(request.stops)

    def reached(self, drawn: Drawn) -> bool:
        """Whether this token, the newest, is the last."""
        id, count = drawn.token.id, len(drawn.sample.tail)
        counts = count > self._request.least
        self._text.add(text_bytes(self._vocabulary, [id]), counts=counts)
        return counts and (id in self._request.stop_ids or self._text.stop is not None)


def generated(drawn: Drawn, request: GenerationRequest) -> GeneratedToken:
    """What is told of a token that was drawn."""
    id, distribution = drawn.token.id, drawn.distribution
    row = distribution.full
    listed = dict(zip(distribution.ids.tolist(), distribution.logprobs.tolist(), strict=True))
    logprob = float(row[id]) if row is not None else listed.get(id, drawn.choice.logprob)
    return GeneratedToken(
        id=id,
        logprob=logprob,
        p=drawn.choice.p,
        top=best_candidates(distribution, request.top),
        watched=tuple(_watched(distribution, listed, watched) for watched in request.watched),
        kept=kept_candidates(drawn.choice.ladder, request.kept),
    )


def best_candidates(distribution: Distribution, count: int) -> tuple[tuple[int, float], ...]:
    """Id and logprob of so many best candidates; fewer where a server tells no more."""
    ids, logprobs = distribution.ids, distribution.logprobs
    if count > len(ids) and distribution.full is not None:
        logprobs = distribution.full
        ids = np.lexsort((np.arange(len(logprobs)), -logprobs))[:count].astype(np.int32)
        logprobs = logprobs[ids]
    return tuple(zip(ids[:count].tolist(), logprobs[:count].tolist(), strict=True))


def kept_candidates(ladder: Ladder, count: int) -> tuple[tuple[int, float], ...]:
    """Id and p of so many best candidates that the chain left."""
    if not count:
        return ()
    order = np.lexsort((ladder.ids, -ladder.p_final))[:count]
    kept = [(int(ladder.ids[at]), float(ladder.p_final[at])) for at in order]
    return tuple((id, p) for id, p in kept if p > 0)


def _watched(distribution: Distribution, listed: dict[int, float], id: int) -> float:
    if distribution.full is not None:
        return float(distribution.full[id])
    if id not in listed:
        raise CapabilityMissing(
            f"The logprob of token {id} is not known",
            "The model's server tells those of its best candidates.",
            "Leave it out, or take a model in process.",
        )
    return listed[id]


def _finish(sample: Sample) -> GenerationFinish:
    match sample.finish:
        case "end" | "stop" | "length" | "stuck" as finish:
            return finish
    raise LltermError("The drawing ended early", "", "Try again.")


def _cached(drawing: Drawing) -> int:
    """Tokens of the prompt that did not cost anything; 0 where a server does not tell."""
    if not drawing.cost.decodes:
        return 0
    return max(len(drawing.start.tokens) - drawing.cost.prompt_tokens, 0)
