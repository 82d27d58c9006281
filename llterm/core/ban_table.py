"""Bans over a vocabulary: which tokens would break one, after any text.

A token is barred when the text with it holds a banned phrase that ends in the token, wherever the
phrase began: in the story, in tokens drawn before, or in the token itself. So no drawn text ever
holds a banned phrase that the story did not hold already. Equal to asking `Bans.broken_by` for
every token, at the cost of a few look-ups in sorted lists.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llterm.core.bans import (
    CAPITALS,
    Bans,
    Pattern,
    begins_with_capital,
    incomplete,
    opening,
    tail,
)
from llterm.core.distribution import Bits, Constrained
from llterm.core.tokens import Tail, Vocabulary

_GAP = b"\xff"
"""Stands between tokens in one long text; no banned phrase, which is UTF-8, holds it."""
KEPT_PLACES = 64
"""A place is a row of bits for each ban; most texts come by a few places again and again."""
AHEAD = 16
NARROW = 64
"""Where a constraint allows no more tokens than this, every one of them is followed."""

Ids = NDArray[np.int64]
Begun = tuple[tuple[int, int], ...]
"""Patterns by index whose beginning the text ends in, and how many bytes of it."""


@dataclass(frozen=True, slots=True, eq=False)
class BannedTokens:
    """The tokens that one ban takes at a place."""

    said: str
    """Such as `banned "once upon"`."""
    ids: Bits
    """Shape (vocabulary size,); True where the id may not stand."""


class _Sorted:
    """Byte strings in order, with the ids that they belong to."""

    def __init__(self, data: Iterable[tuple[bytes, int]]) -> None:
        ordered = sorted(one for one in data if one[0])
        self._data = [one for one, _ in ordered]
        self._ids = np.array([id for _, id in ordered], dtype=np.int64)

    def beginning_with(self, start: bytes) -> Ids:
        """Ids of the strings that begin so. `start` is not empty, and ends in no 0xff byte."""
        after = start[:-1] + bytes([start[-1] + 1])
        return self._ids[bisect_left(self._data, start) : bisect_left(self._data, after)]

    def equal_to(self, data: bytes) -> Ids:
        return self._ids[bisect_left(self._data, data) : bisect_right(self._data, data)]


class BanTable:
    """What bans bar in one vocabulary. Making one reads the whole vocabulary; keep it."""

    def __init__(self, bans: Bans, vocabulary: Vocabulary) -> None:
        self._bans = bans
        self._patterns = bans.patterns
        self._size = vocabulary.size
        tokens = (vocabulary.token(id) for id in range(vocabulary.size))
        self._data = [b"" if token.special else token.data for token in tokens]
        lowered = [data.lower() for data in self._data]
        self._starts = _Sorted(zip(lowered, range(self._size), strict=True))
        self._ends = _Sorted((data[::-1], id) for id, data in enumerate(lowered))
        self._openings = _Sorted((opening(data), id) for id, data in enumerate(lowered))
        self._inside = _inside(lowered, self._patterns)
        self._capitals = self._begun_with_capital() if bans.capitals else None
        self._longest = max((len(one.data) for one in self._patterns), default=1)
        self._kept: dict[object, tuple[BannedTokens, ...]] = {}

    def barred(self, story: bytes, drawn: bytes) -> tuple[BannedTokens, ...]:
        """What each ban bars after this text; bans that bar nothing are left out."""
        begun, before = self._begun(story, drawn), tail(story + drawn, 8)
        whole = before[: len(before) - incomplete(before)]
        letter = tail(whole, 4).decode("utf-8", "replace")[-1:].isalnum()
        key = begun, not opening(drawn), letter, before[len(whole) :]
        bars = self._kept.get(key)
        if bars is None:
            if len(self._kept) >= KEPT_PLACES:
                self._kept.clear()
            found = self._bar(begun, before, letter, first=not opening(drawn))
            bars = self._kept[key] = tuple(one for one in found if one.ids.any())
        return bars

    def barred_beyond(self, story: bytes, residue: bytes) -> tuple[BannedTokens, ...]:
        """The same among tokens that first write the end of the story again: what they add."""
        bits_by_ban: dict[str, Bits] = {}
        if self._bans:
            for id in self._starts.beginning_with(residue.lower()).tolist():
                said = self._bans.broken_by(story, b"", self._data[id][len(residue) :])
                if said is not None:
                    bits_by_ban.setdefault(said, np.zeros(self._size, bool))[id] = True
        return tuple(BannedTokens(said, ids) for said, ids in bits_by_ban.items())

    def doomed(
        self, story: bytes, drawn: bytes, constraint: Constrained, written: Tail
    ) -> tuple[BannedTokens, ...]:
        """Tokens after which a constraint leaves nothing but banned phrases, by ban.

        `written` are the tokens under the constraint so far. Looks `AHEAD` tokens ahead; where the
        constraint allows more than `NARROW` tokens, only along those that a phrase goes on in.
        """
        left = constraint.mask(written).allowed & ~_any(self.barred(story, drawn), self._size)
        bits_by_ban: dict[str, Bits] = {}
        for id in self._worth_following(left, story, drawn).tolist():
            said = self._forced(story, drawn + self._data[id], constraint, (*written, id), AHEAD)
            if said is not None:
                bits_by_ban.setdefault(said, np.zeros(self._size, bool))[id] = True
        return tuple(BannedTokens(said, ids) for said, ids in bits_by_ban.items())

    def _bar(
        self, begun: Begun, before: bytes, letter: bool, *, first: bool
    ) -> Iterator[BannedTokens]:
        bits_by_ban: dict[str, Bits] = {}
        for pattern, ids in zip(self._patterns, self._inside, strict=True):
            bits = bits_by_ban.setdefault(pattern.said, np.zeros(self._size, bool))
            if not pattern.opening:
                bits[ids] = True
            elif first:
                bits[self._openings.beginning_with(pattern.data)] = True
        for index, size in begun:
            pattern = self._patterns[index]
            bits_by_ban[pattern.said][self._starts.beginning_with(pattern.data[size:])] = True
        if self._capitals is not None:
            broken = incomplete(before)
            bits = bits_by_ban[CAPITALS] = self._capitals[letter and not broken].copy()
            if broken:
                for id, data in enumerate(self._data):
                    if data and 0x80 <= data[0] < 0xC0:
                        bits[id] = begins_with_capital(before, data)
        return (BannedTokens(said, bits) for said, bits in bits_by_ban.items())

    def _begun(self, story: bytes, drawn: bytes) -> Begun:
        before = tail(story + drawn, self._longest - 1).lower()
        opened = opening(drawn) if len(drawn) < 2 * self._longest else b""
        beginnings = []
        for index, pattern in enumerate(self._patterns):
            if pattern.opening:
                if opened and len(opened) < len(pattern.data) and pattern.data.startswith(opened):
                    beginnings.append((index, len(opened)))
                continue
            sizes = range(1, len(pattern.data))
            beginnings += [(index, size) for size in sizes if before.endswith(pattern.data[:size])]
        return tuple(beginnings)

    def _begun_with_capital(self) -> tuple[Bits, Bits]:
        """Tokens with a word that begins with a capital: after no letter, and after one."""
        begins = np.zeros((2, self._size), bool)
        for id, data in enumerate(self._data):
            if data != data.lower() or not data.isascii():
                for row, before in enumerate((b"", b"a")):
                    begins[row, id] = begins_with_capital(before, data)
        return begins[0], begins[1]

    def _going_on(self, story: bytes, drawn: bytes) -> Bits:
        """Tokens after which the text ends in the beginning of a pattern."""
        continues = np.zeros(self._size, bool)
        first = not opening(drawn)
        for pattern in self._patterns:
            for size in range(1, len(pattern.data)):
                start = pattern.data[:size]
                if not pattern.opening:
                    continues[self._ends.beginning_with(start[::-1])] = True
                elif first:
                    continues[self._openings.equal_to(start)] = True
        for index, size in self._begun(story, drawn):
            rest = self._patterns[index].data[size:]
            for more in range(1, len(rest)):
                continues[self._starts.equal_to(rest[:more])] = True
        return continues

    def _worth_following(self, left: Bits, story: bytes, drawn: bytes) -> Ids:
        if np.count_nonzero(left) > NARROW:
            left = left & self._going_on(story, drawn)
        return np.flatnonzero(left)

    def _forced(
        self, story: bytes, drawn: bytes, constraint: Constrained, written: Tail, ahead: int
    ) -> str | None:
        """The ban that all ways on break; None when there is a way on, or the text may end."""
        allowed = constraint.mask(written).allowed
        barred = self.barred(story, drawn)
        left = allowed & ~_any(barred, self._size)
        if not left.any():
            return next((one.said for one in barred if (one.ids & allowed).any()), None)
        ways = self._worth_following(left, story, drawn)
        if not ahead or len(ways) < np.count_nonzero(left):
            return None
        said = None
        for id in ways.tolist():
            said = self._forced(
                story, drawn + self._data[id], constraint, (*written, id), ahead - 1
            )
            if said is None:
                return None
        return said


class ListedBans:
    """What bans bar among some candidates, in a vocabulary of which not all is known: each of them
    is looked at."""

    def __init__(self, bans: Bans, vocabulary: Vocabulary) -> None:
        self._bans = bans
        self._vocabulary = vocabulary

    def barred(self, story: bytes, drawn: bytes, ids: Iterable[int]) -> tuple[BannedTokens, ...]:
        """What each ban bars of these; the bits reach as far as the largest of them."""
        if not self._bans:
            return ()
        listed = list(ids)
        size = max(listed, default=-1) + 1
        bits_by_ban: dict[str, Bits] = {}
        for id in listed:
            token = self._vocabulary.token(id)
            said = self._bans.broken_by(story, drawn, b"" if token.special else token.data)
            if said is not None:
                bits_by_ban.setdefault(said, np.zeros(size, bool))[id] = True
        return tuple(BannedTokens(said, bits) for said, bits in bits_by_ban.items())


def _inside(data: Sequence[bytes], patterns: Sequence[Pattern]) -> list[Ids]:
    """For each pattern, the ids of the tokens that hold all of it."""
    text = _GAP.join(data)
    starts = np.cumsum([0, *(len(one) + 1 for one in data[:-1])])
    rows = []
    for pattern in patterns:
        places = []
        place = text.find(pattern.data)
        while place >= 0:
            places.append(place)
            place = text.find(pattern.data, place + 1)
        rows.append(np.searchsorted(starts, np.array(places, np.int64), side="right") - 1)
    return rows


def _any(barred: Sequence[BannedTokens], size: int) -> Bits:
    union = np.zeros(size, bool)
    for bar in barred:
        union |= bar.ids
    return union
