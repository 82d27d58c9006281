"""A random model with a tokenizer, and its copy that spells byte by byte.

The copy's probabilities are the sums over all token paths of the original, found by trying them
all: the two say the same of every text in different tokens.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import AsyncGenerator, Sequence
from functools import lru_cache

import numpy as np

from llterm.backends.scripted import listed
from llterm.core.distribution import Logprobs
from llterm.core.mixing.byte_distribution import END, SIZE, ByteVocabulary
from llterm.core.query import Capabilities, Cost, Fact, Failed, Query, TokenScore
from llterm.core.tokens import Anchor, Path, Tail, Vocabulary, text_bytes
from tests.helpers.random_model import RandomModel


class Backend:
    """A model that can be part of a mix, made of a function from tokens to logprobs."""

    def __init__(self, name: str, vocabulary: Vocabulary) -> None:
        self.name = name
        self.vocabulary = vocabulary
        self.capabilities = Capabilities(full_vocabulary=True, batch=16, context=512)
        self.spent = Cost()
        self.asked: list[Path] = []

    @abstractmethod
    def logprobs(self, tokens: Tail) -> Logprobs:
        """Of every token after these; shape (vocabulary,)."""

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        for query in reversed(queries):
            self.asked.append(query.path)
            row = self.logprobs(query.path.tokens)
            found = listed(row, query.keep, query.mask, full=query.full)
            self.spent += Cost(tokens=1)
            yield Fact(query.path, found, Cost(tokens=1))

    async def score(
        self, tokens: Tail, start: int = 1, keep: int = 64
    ) -> AsyncGenerator[TokenScore]:
        for index in range(start, len(tokens)):
            row = self.logprobs(tokens[:index])
            rank = 1 + int((row > row[tokens[index]]).sum())
            yield TokenScore(
                index, tokens[index], float(row[tokens[index]]), rank, listed(row, keep)
            )

    async def close(self) -> None:
        """Nothing to free."""


class Tokenized(Backend):
    """A `RandomModel` with its own pieces."""

    def __init__(self, seed: int, sharpness: float = 2.0) -> None:
        self.model = RandomModel(seed, sharpness)
        super().__init__(f"random-{seed}", self.model)
        self._cache: dict[Tail, Logprobs] = {}

    def logprobs(self, tokens: Tail) -> Logprobs:
        if tokens not in self._cache:
            self._cache[tokens] = self.model.logprobs(tokens)
        return self._cache[tokens]


class Spelled(Backend):
    """The same model in bytes, after `anchor` (a text that ends between words)."""

    def __init__(self, original: Tokenized, anchor: bytes) -> None:
        super().__init__("spelled", ByteVocabulary())
        self._original = original
        self._anchor = anchor
        self._start = original.model.prefix + original.model.encode(anchor)
        self._starting = lru_cache(maxsize=None)(self._starting_uncached)

    def logprobs(self, tokens: Tail) -> Logprobs:
        text = text_bytes(self.vocabulary, tokens)
        assert text.startswith(self._anchor)
        written = text[len(self._anchor) :]
        sums = np.array([self._starting((), written + bytes([b])) for b in range(END)]
                        + [self._ending((), written)])  # fmt: skip
        assert len(sums) == SIZE
        with np.errstate(divide="ignore"):
            found: Logprobs = np.log(sums / sums.sum()).astype(np.float32)
        return found

    def _p(self, tail: Tail, id: int) -> float:
        return math.exp(self._original.logprobs(self._start + tail)[id])

    def _starting_uncached(self, tail: Tail, rest: bytes) -> float:
        """Probability that the text after these tokens begins with `rest`."""
        total = 0.0
        for id in range(1, self._original.model.size):
            data = self._original.model.token(id).data
            if data.startswith(rest):
                total += self._p(tail, id)
            elif rest.startswith(data):
                total += self._p(tail, id) * self._starting((*tail, id), rest[len(data) :])
        return total

    def _ending(self, tail: Tail, rest: bytes) -> float:
        """Probability that it is `rest` and then ends."""
        if not rest:
            return self._p(tail, 0)
        return sum(
            self._p(tail, id) * self._ending((*tail, id), rest[len(data) :])
            for id in range(1, self._original.model.size)
            if rest.startswith(data := self._original.model.token(id).data)
        )


def after(anchor: bytes, tail: bytes = b"") -> Path:
    """A path of a mix of bytes."""
    return Path(Anchor(tuple(anchor)), tuple(tail))
