"""Regular languages of bytes, read by derivatives: what masks are compared with.

A language is a term; `after` gives what may follow a byte of it (Brzozowski 1964). No automaton is
built, and nothing is shared with what is tested.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class One:
    """One byte out of these. No bytes: the language of nothing."""

    bytes: frozenset[int]


@dataclass(frozen=True)
class Both:
    """One after the other; of none, the empty text."""

    first: Language
    then: Language


@dataclass(frozen=True)
class Either:
    these: frozenset[Language]


@dataclass(frozen=True)
class Many:
    of: Language


@dataclass(frozen=True)
class Empty:
    """The empty text."""


Language = One | Both | Either | Many | Empty
NOTHING = One(frozenset())
EMPTY = Empty()


def span(first: int, last: int) -> Language:
    return One(frozenset(range(first, last + 1)))


def both(first: Language, then: Language) -> Language:
    if NOTHING in (first, then):
        return NOTHING
    return then if first == EMPTY else Both(first, then)


def either(*several: Language) -> Language:
    flat: set[Language] = set()
    for one in several:
        flat |= one.these if isinstance(one, Either) else {one}
    flat.discard(NOTHING)
    return Either(frozenset(flat)) if len(flat) > 1 else next(iter(flat), NOTHING)


def text(data: str | bytes) -> Language:
    raw = data.encode() if isinstance(data, str) else data
    return joined(*(span(byte, byte) for byte in raw))


def joined(*parts: Language) -> Language:
    rest: Language = EMPTY
    for part in reversed(parts):
        rest = both(part, rest)
    return rest


def one_of(texts: Iterable[str]) -> Language:
    return either(*map(text, texts))


@cache
def nullable(language: Language) -> bool:
    match language:
        case Both(first, then):
            return nullable(first) and nullable(then)
        case Either(these):
            return any(map(nullable, these))
        case One():
            return False
    return True


@cache
def after(language: Language, byte: int) -> Language:
    """What may follow this byte."""
    match language:
        case One(bytes):
            return EMPTY if byte in bytes else NOTHING
        case Both(first, then):
            rest = both(after(first, byte), then)
            return either(rest, after(then, byte)) if nullable(first) else rest
        case Either(these):
            return either(*(after(one, byte) for one in these))
        case Many(of):
            return both(after(of, byte), language)
    return NOTHING


def read(language: Language, data: bytes) -> Language:
    for byte in data:
        language = after(language, byte)
    return language


LATER = span(0x80, 0xBF)
CHARACTER = either(
    span(0x00, 0x7F),
    joined(span(0xC2, 0xDF), LATER),
    joined(span(0xE0, 0xE0), span(0xA0, 0xBF), LATER),
    joined(either(span(0xE1, 0xEC), span(0xEE, 0xEF)), LATER, LATER),
    joined(span(0xED, 0xED), span(0x80, 0x9F), LATER),
    joined(span(0xF0, 0xF0), span(0x90, 0xBF), LATER, LATER),
    joined(span(0xF1, 0xF3), LATER, LATER, LATER),
    joined(span(0xF4, 0xF4), span(0x80, 0x8F), LATER, LATER),
)
"""Well-formed UTF-8, after the Unicode standard's table 3-7."""
LETTER = span(ord("a"), ord("z"))
DIGIT = span(ord("0"), ord("9"))
