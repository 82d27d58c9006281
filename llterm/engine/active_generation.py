"""A generation under way: what its next token is drawn with, and where it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from llterm.constraints.compiled import Compiled
from llterm.core.distribution import Bits, Mask
from llterm.core.sampling.sampler_chain import Chain, DrawnText, barring
from llterm.core.sampling.stage_types import Stage
from llterm.core.tokens import Tail, Vocabulary, text_bytes
from llterm.engine.draw import STORY
from llterm.engine.generation import (
    GeneratedToken,
    GenerationEnd,
    GenerationFinish,
    GenerationRequest,
)
from llterm.engine.row_draws import RowDraw, RowToDraw
from llterm.engine.slot_plan import PlannedRequest

News = GeneratedToken | GenerationEnd | BaseException


@dataclass(slots=True, eq=False)
class ActiveGeneration:
    """One request from its coming to its end."""

    request: GenerationRequest
    planned: PlannedRequest
    loop: asyncio.AbstractEventLoop
    """Where its news go."""
    most: int
    """Tokens at which it ends: what was asked for, or what its slot has room for."""
    news: asyncio.Queue[News] = field(default_factory=asyncio.Queue)
    unwanted: bool = False
    """Nobody listens any more."""
    chain: Chain | None = None
    """Made once it has come in."""
    constraint: Compiled | None = None
    mask: Mask | None = None
    """What the constraint allows for the next token."""
    drawn: Tail = ()
    _text: DrawnText = field(default_factory=DrawnText)
    _story: bytes = b""
    _stops: tuple[bytes, ...] = ()

    def begin(self, chain: Chain, vocabulary: Vocabulary) -> None:
        """Everything that is drawn with is at hand."""
        self.chain = chain
        self._story = text_bytes(vocabulary, self.request.prompt[-STORY:])[-STORY:]
        self._stops = tuple(stop.encode("utf-8", "surrogatepass") for stop in self.request.stops)

    @property
    def looks_ahead(self) -> bool:
        """Whether its row reads the constraint itself: bans may leave it nothing further on."""
        return self.constraint is not None and bool(self.request.sampling.bans)

    def row(self, vocabulary: Vocabulary, ends: Bits) -> RowToDraw:
        """What its next token is drawn with. `ends`, shape (vocabulary size,): the tokens that end
        a text. Raises UsageError where its constraint turns out too complex."""
        assert self.chain is not None
        request = self.request
        at = self._text.here(request.prompt + self.drawn, self._story)
        first: list[tuple[str, Stage]] = []
        early = self._text.count < request.least
        if request.ignore_end or early:
            first.append(("end", barring(ends)))
        if early and request.stop_ids:
            first.append(("stop", barring(_marked(request.stop_ids, vocabulary.size))))
        if self.constraint is not None and self.looks_ahead:
            first += self.chain.forced(at, self.constraint, self.drawn)
        allowed = self.mask.allowed if self.mask is not None else None
        return RowToDraw(self.chain, at, request.choice, allowed, first, request.top)

    def took(
        self, draw: RowDraw | None, vocabulary: Vocabulary
    ) -> Sequence[GeneratedToken | GenerationEnd]:
        """Its next token, and its end where that is one; the end alone where nothing may follow."""
        if draw is None:
            return [self._end("stuck")]
        self._text.count += 1
        self._text.mirostat = draw.mirostat
        self.drawn += (draw.id,)
        token = GeneratedToken(draw.id, draw.logprob, draw.p, draw.top)
        finish = self._finish(draw.id, vocabulary)
        return [token] if finish is None else [token, self._end(finish)]

    def _end(self, finish: GenerationFinish) -> GenerationEnd:
        return GenerationEnd(finish, self.planned.cached)

    def _finish(self, id: int, vocabulary: Vocabulary) -> GenerationFinish | None:
        """Why it ends with this token, the last one drawn; None where it goes on."""
        token = vocabulary.token(id)
        added = b"" if token.special else token.data
        before = len(self._text.text)
        self._text.text += added
        if token.end:
            return "end"
        if self._text.count > self.request.least:
            if id in self.request.stop_ids:
                return "stop"
            # One that was there before `least` tokens does not count.
            if any(
                stop in self._text.text[max(before - len(stop) + 1, 0) :] for stop in self._stops
            ):
                return "stop"
        return "length" if self._text.count >= self.most else None


def _marked(ids: frozenset[int], size: int) -> Bits:
    bits = np.zeros(size, np.bool_)
    bits[[id for id in ids if 0 <= id < size]] = True
    return bits
