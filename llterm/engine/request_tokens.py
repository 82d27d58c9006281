"""What a request to generate lets be drawn at a place, and where it ends."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Bits
from llterm.core.held_text import HeldText
from llterm.core.tokens import Tail, Vocabulary, text_bytes
from llterm.engine.generation import GenerationRequest


class RequestTokens:
    """The tokens that may stand at each place of what is drawn."""

    def __init__(self, request: GenerationRequest, ends: Tail, size: int) -> None:
        """`ends`: the ids, ascending, that end a text of this vocabulary of `size` ids."""
        self.size = size
        self.allowed: Bits | None = None
        """The only ones that may be drawn, less those barred, shape (vocabulary size,); None:
        all."""
        if request.allowed is not None:
            self.allowed = np.zeros(size, np.bool_)
            self.allowed[[*request.allowed, *ends]] = True
        self._least = request.least
        self._barred = np.array(ends if request.ignore_end else (), np.int64)
        stops = {id for id in request.stop_ids if id < size}
        self._first = np.array(sorted(stops.union(ends)), np.int64)

    def barred(self, count: int) -> NDArray[np.int64]:
        """Ids, ascending, that may not follow so many drawn tokens."""
        return self._first if count < self._least else self._barred


class TextEnd:
    """Whether what was drawn has come to one of the request's stops."""

    def __init__(self, request: GenerationRequest, vocabulary: Vocabulary) -> None:
        self._request = request
        self._vocabulary = vocabulary
        self._text = HeldText(request.stops)
        self._count = 0

    def reached(self, id: int) -> bool:
        """Take in the next token; returns whether it is the last."""
        self._count += 1
        counts = self._count > self._request.least
        if self._request.stops:
            if id in self._request.spoken:
                data = self._vocabulary.token(id).data
            else:
                data = text_bytes(self._vocabulary, [id])
            self._text.add(data, counts=counts)
        return counts and (id in self._request.stop_ids or self._text.stop is not None)
