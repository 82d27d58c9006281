"""Text as it was made: pieces with their authors and tokens, and what a slice of one holds."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from llterm.core.tokens import Tail

PERSON = "person"
UNKNOWN = "unknown"
"""The author of a text of which nothing but the text could be read."""
LEAST_LOGPROB = -1e6
"""Natural log below which programs mean "impossible"; so many add up to a number still."""
ROUNDING = 1e-3
"""By so much programs that round their sums tell more than certainty."""
NEWEST = 2.5e11
"""Seconds since 1970 that every calendar has still."""


def logprob_of(value: object) -> float | None:
    """A natural log of a probability that a file brings along; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not value <= ROUNDING:
        return None
    return float(min(max(value, LEAST_LOGPROB), 0.0))


def moment_of(value: object) -> float | None:
    """Seconds since 1970 that a file brings along; None for what is no moment."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= NEWEST else None


@dataclass(frozen=True, slots=True)
class Piece:
    """Text as it was made, by one author at one moment."""

    id: int
    data: bytes
    author: str = PERSON
    """`person`, or the model's name; `unknown` where it could not be read."""
    created: float = 0.0
    """Seconds since 1970."""
    ids: Tail | None = None
    """The model's tokens; None for the person's text."""
    sizes: Tail = ()
    """Bytes of each token, the overlap's included."""
    overlap: int = 0
    """How many bytes before the piece its first tokens re-encode (token healing)."""
    fingerprint: str = ""
    """Of the vocabulary that the ids belong to."""
    logprobs: tuple[float, ...] = ()
    birth: str = ""
    """JSON of `core.provenance`; empty also where it lies in the file and was not asked for."""


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of the story by one author, in whole tokens where a model made it."""

    data: bytes
    ids: Tail | None = None
    fingerprint: str | None = None
    overlap: int = 0


@dataclass(frozen=True, slots=True)
class TokenSpan:
    """One token of a slice, or text that is no whole token there."""

    data: bytes
    """What it adds to the slice: a token's bytes less those that it re-encodes."""
    piece: Piece
    index: int | None = None
    """Which token of the piece; None for the person's text and for parts of tokens."""

    @property
    def logprob(self) -> float | None:
        """Natural log of its probability at birth; None where it is not known."""
        logprobs = self.piece.logprobs
        known = self.index is not None and self.index < len(logprobs)
        return logprob_of(logprobs[self.index]) if known and self.index is not None else None


@dataclass(slots=True)
class Pieces:
    """Pieces by id. Their texts are at hand; the rest is read from the file when asked for."""

    texts: dict[int, bytes] = field(default_factory=dict)
    read: Callable[[Collection[int]], Iterable[Piece]] | None = None
    """Fetches pieces that are only in the file."""
    _known: dict[int, Piece] = field(default_factory=dict)

    def __contains__(self, id: object) -> bool:
        return id in self.texts

    def __getitem__(self, id: int) -> Piece:
        piece = self._known.get(id)
        if piece is None:
            self.fetch((id,))
            piece = self._known.get(id)
        # One that cannot be read now is text that nobody is known to have written.
        return piece or Piece(id, self.texts[id], UNKNOWN)

    def add(self, piece: Piece) -> None:
        self._known[piece.id] = piece
        self.texts[piece.id] = piece.data

    def renew(self, texts: Mapping[int, bytes]) -> None:
        """These stand in the file so by now: somebody else wrote to it."""
        self.texts.update(texts)
        for id in texts:
            self._known.pop(id, None)

    def fetch(self, ids: Iterable[int]) -> Mapping[int, Piece]:
        """Read all of these at once, so that asking for each costs nothing; every one known.

        Those that cannot be read stay away.
        """
        missing = {id for id in ids if id not in self._known}
        if missing and self.read is not None:
            self._known.update((piece.id, piece) for piece in self.read(missing))
        return self._known


def runs(piece: Piece, start: int, stop: int) -> Iterator[Run]:
    """A slice of a piece as runs; a model's text in whole tokens where it can."""
    if piece.ids is None or (start, stop) == (0, len(piece.data)):
        if stop > start:
            whole = Run(piece.data, piece.ids, piece.fingerprint, piece.overlap)
            yield whole if piece.ids is not None else Run(piece.data[start:stop])
        return
    edges = token_edges(piece)
    first, last = _whole(piece, edges, start, stop)
    if last <= first:
        if stop > start:
            yield Run(piece.data[start:stop])
        return
    begin = max(edges[first], 0)
    if begin > start:
        yield Run(piece.data[start:begin])
    overlap = piece.overlap if first == 0 else 0
    yield Run(piece.data[begin : edges[last]], piece.ids[first:last], piece.fingerprint, overlap)
    if stop > edges[last]:
        yield Run(piece.data[edges[last] : stop])


def spans(piece: Piece, start: int, stop: int) -> Iterator[TokenSpan]:
    """A slice of a piece token by token; text that is no whole token is a span of its own."""
    if piece.ids is None:
        if stop > start:
            yield TokenSpan(piece.data[start:stop], piece)
        return
    edges = token_edges(piece)
    first, last = _whole(piece, edges, start, stop)
    if last <= first:
        if stop > start:
            yield TokenSpan(piece.data[start:stop], piece)
        return
    begin = max(edges[first], 0)
    if begin > start:
        yield TokenSpan(piece.data[start:begin], piece)
    for index in range(first, last):
        data = piece.data[max(edges[index], 0) : max(edges[index + 1], 0)]
        yield TokenSpan(data, piece, index)
    if stop > edges[last]:
        yield TokenSpan(piece.data[edges[last] : stop], piece)


def token_edges(piece: Piece) -> list[int]:
    """Where tokens begin in the piece's bytes, and the end; negative within the overlap."""
    edges = [-piece.overlap]
    for size in piece.sizes:
        edges.append(edges[-1] + size)
    return edges


def _whole(piece: Piece, edges: list[int], start: int, stop: int) -> tuple[int, int]:
    """The first whole token of a slice, and the one after its last."""
    # A token without text that stands at a cut belongs to the left part alone.
    first = 0 if start == 0 else bisect_left(edges, start)
    if start and first < len(edges) and edges[first] == start:
        first = bisect_right(edges, start) - 1
    return first, bisect_right(edges, stop) - 1
