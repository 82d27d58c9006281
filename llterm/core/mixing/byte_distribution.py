"""A model's next-byte distribution, exactly, from its next-token distributions.

A model gives a probability to each token path. The probability that its text goes on with some
bytes is the sum over all paths that spell them: paths that end there, and paths whose last token
reaches past them. The next byte's distribution is the quotient of two such sums. (Vieira et al.
2024, "From Language Models over Tokens to Language Models over Characters", sections 3 and 4; Phan
et al. 2024, "Exact Byte-Level Probabilities from Tokenized Language Models".)

So a place in a text is a set of paths, each with the bytes of its next token that are written
already. Their number grows with the text, their share of the mass soon vanishes: paths below a
share are dropped, and how much mass went with them is said. (They may have become probable again
further on; nothing is known of that.)
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llterm.core.chat_messages import ChatPart, ChatParts
from llterm.core.distribution import Reals
from llterm.core.tokens import EncodesHere, Tail, Token, Vocabulary

END = 256
SIZE = 257


class ByteVocabulary(EncodesHere):
    """The alphabet of models whose vocabularies differ: 0 to 255 are bytes, 256 ends the text."""

    fingerprint = "bytes"
    size = SIZE
    prefix: Tail = ()

    def __init__(self) -> None:
        self._tokens = [Token(id, bytes([id])) for id in range(END)]
        self._tokens.append(Token(END, b"<end>", special=True, end=True))

    def encode(self, data: bytes) -> Tail:
        return tuple(data)

    def token(self, id: int) -> Token:
        return self._tokens[id]


def byte_parts(parts: ChatParts) -> ChatParts:
    """A chat in bytes. `END` shuts it, so that no story's text can be taken for it."""
    spelled = (one._replace(ids=tuple(one.text.encode("utf-8", "replace"))) for one in parts)
    return (*spelled, ChatPart("", written=False, ids=(END,)))


DROPPED = 1e-4
"""A path with a smaller share of the mass is dropped."""


@dataclass(frozen=True, slots=True, eq=False)
class TokenRange:
    """The tokens that begin with some bytes: a range of `SortedTokens`."""

    start: int
    longer: int
    """Tokens before this one are those bytes and nothing more."""
    stop: int
    bytes: NDArray[np.uint8]
    """What may come next in the longer ones, ascending."""
    cuts: NDArray[np.intp]
    """Where each of those begins, counted from `longer`."""


class SortedTokens:
    """Tokens in the order of their bytes: a vocabulary's, or those that a server lists at a place.
    Control tokens spell nothing."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        plain = sorted((t.data, t.id) for t in tokens if t.data and not t.special and not t.end)
        self._data = [data for data, _ in plain]
        self.ids = np.array([id for _, id in plain], np.int64)
        self.ends = np.array([t.id for t in tokens if t.end], np.int64)
        self._spans: dict[bytes, TokenRange] = {}

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> SortedTokens:
        """All of a vocabulary that is whole."""
        return cls([vocabulary.token(id) for id in range(vocabulary.size)])

    def span(self, written: bytes) -> TokenRange:
        tokens = self._spans.get(written)
        if tokens is None:
            tokens = self._spans[written] = self._span(written)
        return tokens

    def _span(self, written: bytes) -> TokenRange:
        size = len(written)

        def head(data: bytes) -> bytes:
            return data[:size]

        start = bisect_left(self._data, written, key=head)
        stop = bisect_right(self._data, written, key=head)
        longer = bisect_right(self._data, written, start, stop)
        following = np.array([data[size] for data in self._data[longer:stop]], np.uint8)
        bytes_, cuts = np.unique(following, return_index=True)
        return TokenRange(start, longer, stop, bytes_, cuts)


@dataclass(slots=True, eq=False)
class TokenRoute:
    """A token path that spells the text so far, and the part of its next token that is written."""

    tail: Tail
    """Tokens after the anchor."""
    weight: float
    """The path's probability, given the text so far."""
    written: bytes = b""
    pieces: SortedTokens | None = None
    """The tokens that the model tells after the path."""
    mass: Reals | None = None
    """Of each token longer than `written` that begins with it, given the path, in the order of
    `pieces`; None: the model has not been asked yet."""
    end: float = 0.0
    """Probability that the text ends after the path."""
    unknown: float = 0.0
    """Mass that the model's answer after the path only estimates."""

    @property
    def share(self) -> float:
        """Its part of all the mass there is at this place."""
        return self.weight * (1.0 if self.mass is None else float(self.mass.sum()) + self.end)


class BytePosition:
    """A place in a text, as one model sees it: after the anchor and some bytes."""

    def __init__(self, routes: list[TokenRoute], lost: float = 0.0) -> None:
        self._routes = routes
        self.lost = lost
        """Share of the mass that was dropped on the way here, each time of what there was then."""
        self._sums: Reals | None = None

    @classmethod
    def first(cls) -> BytePosition:
        """The place right after the anchor."""
        return cls([TokenRoute((), 1.0)])

    @classmethod
    def anew(cls, tail: Tail) -> BytePosition:
        """The place after these tokens: for a text that no path spells that was followed, since
        the model holds it impossible, or so improbable that its paths were dropped."""
        return cls([TokenRoute(tail, 1.0)])

    @classmethod
    def silent(cls) -> BytePosition:
        """A place about which the model cannot be asked: all of it is unknown."""
        return cls([], 1.0)

    @property
    def unasked(self) -> list[Tail]:
        """Token paths after which the model's distribution is needed."""
        return [route.tail for route in self._routes if route.mass is None]

    @property
    def size(self) -> int:
        """Numbers held."""
        return sum(len(route.mass) for route in self._routes if route.mass is not None)

    @property
    def unknown(self) -> float:
        """Share of the mass that is estimated or was dropped."""
        shares = [(route.share, route.unknown) for route in self._routes]
        total = sum(share for share, _ in shares)
        guessed = sum(share * unknown for share, unknown in shares) / total if total > 0 else 0.0
        return min(self.lost + guessed, 1.0)

    def learn(
        self, tail: Tail, pieces: SortedTokens, p: NDArray[np.floating[Any]], unknown: float = 0.0
    ) -> None:
        """What the model tells after a path: tokens, and each id's probability. `unknown`: mass
        that is only estimated, or of other tokens."""
        for route in self._routes:
            if route.mass is None and route.tail == tail:
                route.pieces = pieces
                route.mass = np.asarray(p[pieces.ids], np.float64)
                route.end = float(p[pieces.ends].sum())
                route.unknown = unknown

    @property
    def told(self) -> NDArray[np.int32]:
        """The next bytes, and the end, that a path spells."""
        return np.flatnonzero(self._summed() > 0).astype(np.int32)

    def row(self, *, spread: bool = False) -> Reals:
        """Logprobs of the next byte and, last, of the end: shape (257,), normalised.

        What the model gives to control tokens counts for nothing. `spread`: what is unknown is
        shared out evenly; otherwise it is taken to lie as what is known.
        """
        sums = self._summed()
        total = float(sums.sum())
        p = sums / total if total > 0 else sums
        if spread:
            unknown = self.unknown if total > 0 else 1.0
            p = (1.0 - unknown) * p + unknown / SIZE
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(p), np.float64)

    def after(self, byte: int, dropped: float = DROPPED) -> BytePosition | None:
        """The place one byte on; None where the model holds that byte impossible."""
        total = float(self._summed()[byte])
        if not total > 0.0:
            return None
        routes = [one for route in self._routes for one in self._onward(route, byte, total)]
        shares = [route.share for route in routes]
        likely = [route for route, share in zip(routes, shares, strict=True) if share >= dropped]
        if not likely:
            likely = [max(routes, key=lambda route: route.share)]
        held = sum(route.share for route in likely)
        lost = min(max(sum(shares) - held, 0.0) / sum(shares), 1.0)
        return BytePosition(likely, 1.0 - (1.0 - self.lost) * (1.0 - lost))

    def _summed(self) -> Reals:
        """Mass of each next byte and of the end, shape (257,), not normalised."""
        if self._sums is None:
            sums = np.zeros(SIZE)
            for route in self._routes:
                if route.mass is None or route.pieces is None:
                    raise ValueError("the model has not been asked about every path")
                span = route.pieces.span(route.written)
                if len(span.cuts):
                    sums[span.bytes] += route.weight * np.add.reduceat(route.mass, span.cuts)
                sums[END] += route.weight * route.end
            self._sums = sums
        return self._sums

    def _onward(self, route: TokenRoute, byte: int, total: float) -> list[TokenRoute]:
        """What becomes of a route when `byte` is written, of probability `total` at this place."""
        pieces = route.pieces
        assert route.mass is not None
        assert pieces is not None
        span = pieces.span(route.written)
        written = route.written + bytes([byte])
        inner = pieces.span(written)
        mass = route.mass[inner.start - span.longer : inner.stop - span.longer]
        weight = route.weight / total
        ended = inner.longer - inner.start
        onward = [
            TokenRoute((*route.tail, int(pieces.ids[inner.start + n])), weight * float(mass[n]))
            for n in range(ended)
            if mass[n] > 0
        ]
        longer = mass[ended:]
        if longer.any():
            rest = TokenRoute(
                route.tail, weight, written, pieces, longer.copy(), unknown=route.unknown
            )
            onward.append(rest)
        return onward
