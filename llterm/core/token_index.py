"""A vocabulary's tokens by their bytes: those that spell the beginning of a text, and those that
begin with it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from llterm.core.distribution import Ids
from llterm.core.tokens import Vocabulary

Made = TypeVar("Made")


class TokenIndex:
    """The tokens that stand for text, sorted by bytes; of a vocabulary that is whole."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        tokens = (vocabulary.token(id) for id in range(vocabulary.size))
        plain = sorted(
            (token.data, token.id) for token in tokens if token.data and not token.special
        )
        self._data = [data for data, _ in plain]
        self._ids = np.array([id for _, id in plain], dtype=np.int32)
        self.size = vocabulary.size
        self.longest = max(map(len, self._data), default=0)
        """Bytes of the longest token."""

    def equal(self, data: bytes) -> Ids:
        """Ids of the tokens that are these bytes."""
        return self._ids[bisect_left(self._data, data) : bisect_right(self._data, data)]

    def spelling(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Each token that is the first bytes of `data`, or all of them: its id and its length."""
        for size in range(1, min(len(data), self.longest) + 1):
            for id in self.equal(data[:size]):
                yield int(id), size

    def beginning(self, data: bytes) -> Ids:
        """Ids of the tokens that begin with these bytes, or are them."""
        first = bisect_left(self._data, data)
        return self._ids[first : bisect_left(self._data, _after(data, self.longest), first)]

    def longer(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Each token that begins with these bytes and goes on: its id, and what follows them."""
        first = bisect_right(self._data, data)
        last = bisect_left(self._data, _after(data, self.longest), first)
        for place in range(first, last):
            yield int(self._ids[place]), self._data[place][len(data) :]


def once_a_vocabulary(make: Callable[[Vocabulary], Made]) -> Callable[[Vocabulary], Made]:
    """Gives what was made of a vocabulary before, as long as that is there: some hundred thousand
    tokens take a third of a second."""
    kept: WeakKeyDictionary[Vocabulary, Made] = WeakKeyDictionary()

    def made(vocabulary: Vocabulary) -> Made:
        known = kept.get(vocabulary)
        if known is None:
            known = kept[vocabulary] = make(vocabulary)
        return known

    return made


token_index = once_a_vocabulary(TokenIndex)


def _after(prefix: bytes, longest: int) -> bytes:
    """The least byte string above every token that begins with `prefix`."""
    stripped = prefix.rstrip(b"\xff")
    if not stripped:
        return b"\xff" * (longest + 1)
    return stripped[:-1] + bytes([stripped[-1] + 1])
