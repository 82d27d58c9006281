"""Models for mixes: endless, listing few candidates, away, dead."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial

import numpy as np

from llterm.core.distribution import Logprobs
from llterm.core.query import Fact, Failed, Query
from llterm.core.server_news import Absence, Phase, ServerNews
from llterm.core.tokens import Tail
from llterm.errors import BackendUnavailable
from llterm.session.mix_reader import MixReader
from tests.helpers.polling import until
from tests.helpers.tokenized_model import Tokenized


class Endless(Tokenized):
    """Never ends its text."""

    def logprobs(self, tokens: Tail) -> Logprobs:
        row = super().logprobs(tokens).copy()
        row[0] = -50.0
        found: Logprobs = row - np.log(np.exp(row).sum())
        return found


class Limited(Tokenized):
    """A server that lists its best candidates only."""

    def __init__(self, seed: int, top: int) -> None:
        super().__init__(seed)
        self.capabilities = type(self.capabilities)(full_vocabulary=False, top=top)

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        async for answer in super().ask([Query(one.path, self.capabilities.top or 1, one.mask)
                                         for one in queries]):  # fmt: skip
            assert isinstance(answer, Fact)
            distribution = answer.distribution
            bounds = (distribution.entropy[0] / 2, distribution.entropy[0] * 2)
            limited = type(distribution)(
                distribution.ids,
                distribution.logprobs,
                distribution.rest,
                distribution.permitted,
                bounds,
                False,
            )
            yield Fact(answer.path, limited, answer.cost)


class CountedNews(ServerNews):
    """Counts how often somebody looks who is waited for."""

    looks = 0

    @property
    def waited_for(self) -> tuple[Absence, ...]:
        self.looks += 1
        return super().waited_for


def absence(words: str = "Connection refused", phase: Phase = "waiting") -> Absence:
    """Of a server that nobody listens at."""
    return Absence("near", "http://near", "unreached", words, 0.0, 30.0, phase)


class Hanging(Endless):
    """A model on a server that goes away: who asks it meanwhile waits."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.news = CountedNews("near")
        self.here = asyncio.Event()
        self.here.set()
        self.gives_up = False
        """Its wire's patience is at its end."""
        self.refused = 0

    def leave(self) -> None:
        self.here.clear()
        self.news.tell([absence()])

    def come_back(self) -> None:
        self.gives_up = False
        self.here.set()
        self.news.tell([])

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        if self.gives_up:
            self.refused += 1
            raise BackendUnavailable("No connection to http://near", "Connection refused.")
        await self.here.wait()
        async for fact in super().ask(queries):
            yield fact


STORY = b"ab a. be bea b"


class Mortal(Endless):
    """A server that dies and comes back."""

    dead = False

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        if self.dead:
            raise BackendUnavailable("The server is gone", "It refused the connection.", "")
        async for fact in super().ask(queries):
            yield fact


async def stepped(found: MixReader, count: int = 1) -> None:
    for _ in range(count):
        size = len(found.pieces)
        found.session.player.step()
        await found.session.player.task.wait()
        await until(partial(_longer, found, size))


def _longer(found: MixReader, size: int) -> bool:
    return len(found.pieces) > size and not found.waiting


class Few(Limited, Endless):
    """A server that lists few candidates and never ends its text."""
