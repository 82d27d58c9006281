"""A small model whose figures are off unless paths are asked for in order, as a quantised one's."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence

import numpy as np

from llterm.backends.scripted import listed
from llterm.core.distribution import Logprobs
from llterm.core.query import Capabilities, Cost, Fact, Failed, Query
from llterm.core.tokens import Tail
from tests.helpers.random_model import RandomModel

Noise = Callable[[Tail, int], Logprobs]
"""How far logprobs are off after a tail; of so many ids."""


def shift(nats: float) -> Noise:
    """What comes second is less probable by this, whatever it is."""
    return lambda tail, size: np.full(size, -nats if len(tail) == 1 else 0.0, np.float32)


def scatter(nats: float) -> Noise:
    """Every candidate is less probable by something up to this."""

    def off(tail: Tail, size: int) -> Logprobs:
        random = np.random.default_rng([1, *tail])
        found: Logprobs = -random.uniform(0.0, nats, size).astype(np.float32)
        return found

    return off


class UncertainModel(RandomModel):
    """`logprobs` are the canonical figures."""

    def __init__(self, seed: int, off: Noise) -> None:
        super().__init__(seed)
        self.capabilities = Capabilities(full_vocabulary=True, batch=7, anchored=True)
        self.read: list[Tail] = []
        """What was asked for in order."""
        self._off = off

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        for query in queries:
            self.asked.append(query.path.tail)
            figures = self.logprobs(query.path.tokens) + self._off(query.path.tail, self.size)
            yield Fact(query.path, listed(figures, query.keep, query.mask), Cost(tokens=1))

    async def ask_in_order(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        for query in queries:
            self.read.append(query.path.tail)
            figures = self.logprobs(query.path.tokens)
            yield Fact(query.path, listed(figures, query.keep, query.mask), Cost(tokens=1))
