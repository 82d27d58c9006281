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
from llterm.core.distribution import Constrained, Distribution, Mask
from llterm.core.query import Backend, Capabilities
from llterm.core.sampling.sampler_chain import Chains
from llterm.core.sampling.single_row import best_kept
from llterm.core.tokens import Tail, Vocabulary, end_ids, grows, text_bytes
from llterm.engine.draw import STORY, Drawing, DrawingStart, Drawn, Sample
from llterm.engine.generation import (
    GeneratedToken,
    GenerationEnd,
    GenerationFinish,
    GenerationRequest,
)
from llterm.engine.request_tokens import RequestTokens, TextEnd
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
        self._ends: Tail | None = None
        """See `end_ids`; None until they are asked for."""

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

    @property
    def running(self) -> int:
        return self._turns.running

    @property
    def waiting(self) -> int:
        return self._turns.waiting

    async def generate(
        self, request: GenerationRequest
    ) -> AsyncGenerator[GeneratedToken | GenerationEnd]:
        """As `Generator.generate`."""
        if not request.most:
            yield GenerationEnd("length")
            return
        async with self._turns.turn(request.whose, further=request.further):
            drawing = await self._drawing(request)
            end = TextEnd(request, self.vocabulary)
            async with aclosing(drawing.run()) as draws:
                async for drawn in draws:
                    # A source that never waits would let nobody else have a turn.
                    await asyncio.sleep(0)
                    yield generated(drawn, request)
                    if end.reached(drawn.token.id):
                        # Also where it is the last that may be drawn.
                        drawn.sample.finish = "stop"
            (sample,) = drawing.samples
            if sample.error is not None:
                raise sample.error
            yield GenerationEnd(_finish(sample), _cached(drawing))

    async def close(self) -> None:
        """Nothing is held; who closes the backend ends what is drawn."""

    async def _drawing(self, request: GenerationRequest) -> Drawing:
        chain = await self._chains.told(request.sampling, request.spoken)
        start = DrawingStart(request.prompt, text_bytes(self.vocabulary, request.prompt)[-STORY:])
        sample = Sample(request.choice, most=request.most)
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
        self._ends = end_ids(self.vocabulary) if self._ends is None else self._ends
        tokens = RequestTokens(request, self._ends, self.vocabulary.size)
        return AllowedTokens(tokens, constraint)


@dataclass(frozen=True, slots=True, eq=False)
class AllowedTokens:
    """What a request lets stand at a place, with the constraint that it may have."""

    tokens: RequestTokens
    constraint: Constrained | None

    @property
    def texts(self) -> tuple[bytes, ...]:
        return () if self.constraint is None else self.constraint.texts

    def mask(self, tail: Tail) -> Mask:
        """Which ids may follow these drawn tokens."""
        bits = self.tokens.allowed
        bits = np.ones(self.tokens.size, np.bool_) if bits is None else bits.copy()
        bits[self.tokens.barred(len(tail))] = False
        return Mask(bits if self.constraint is None else bits & self.constraint.mask(tail).allowed)


def generated(drawn: Drawn, request: GenerationRequest) -> GeneratedToken:
    """What is told of a token that was drawn."""
    id, distribution, ladder = drawn.token.id, drawn.distribution, drawn.choice.ladder
    row = distribution.full
    listed = dict(zip(distribution.ids.tolist(), distribution.logprobs.tolist(), strict=True))
    logprob = float(row[id]) if row is not None else listed.get(id, drawn.choice.logprob)
    return GeneratedToken(
        id=id,
        logprob=logprob,
        p=drawn.choice.p,
        top=best_candidates(distribution, request.top),
        watched=tuple(_watched(distribution, listed, watched) for watched in request.watched),
        kept=best_kept(ladder.ids, ladder.p_final, request.kept) if request.kept else (),
    )


def best_candidates(distribution: Distribution, count: int) -> tuple[tuple[int, float], ...]:
    """Id and logprob of so many best candidates; fewer where a server tells no more."""
    ids, logprobs = distribution.ids, distribution.logprobs
    if count > len(ids) and distribution.full is not None:
        logprobs = distribution.full
        ids = np.lexsort((np.arange(len(logprobs)), -logprobs))[:count].astype(np.int32)
        logprobs = logprobs[ids]
    return tuple(zip(ids[:count].tolist(), logprobs[:count].tolist(), strict=True))


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
