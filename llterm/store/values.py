"""What a column of a loom may hold: each value read from a row passes through here.

A loom may be damaged, or made to do harm. Each function raises `Damage` for what llterm never
wrote.
"""

from __future__ import annotations

import reprlib
from typing import Any

from llterm.core.json_text import parsed

MOST_ID = 1 << 30
"""More nodes, texts or steps than a story comes to: what is counted on from here stays in 32 bits,
as slices are kept."""
OLDEST, NEWEST = -6.2e10, 2.5e11
"""Moments that a calendar has, in seconds since 1970."""


class Damage(ValueError):
    """A value that makes no sense, or a schema that is not a loom's."""


def whole(value: object, least: int = 0, most: int = MOST_ID) -> int:
    """A whole number of this range."""
    if type(value) is not int or not least <= value <= most:
        raise Damage(f"{_shown(value)} is no whole number from {least} to {most}")
    return value


def id_of(value: object) -> int:
    """The id of a row."""
    return whole(value, 1)


def flag(value: object) -> bool:
    """0 or 1; JSON's false and true."""
    if value not in (0, 1):
        raise Damage(f"{_shown(value)} is neither 0 nor 1")
    return bool(value)


def moment(value: object) -> float:
    """Seconds since 1970."""
    if type(value) not in (int, float) or not OLDEST <= value <= NEWEST:  # type: ignore[operator]
        raise Damage(f"{_shown(value)} is no moment")
    return float(value)  # type: ignore[arg-type]


def text(value: object) -> str:
    """A text that can be written as UTF-8."""
    if not isinstance(value, str):
        raise Damage(f"{_shown(value)} is no text")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Damage(f"{_shown(value)} is no UTF-8 text") from error
    return value


def data(value: object, unit: int = 1) -> bytes:
    """Bytes: a whole number of units of so many each."""
    if not isinstance(value, bytes) or len(value) % unit:
        raise Damage(f"{_shown(value)} is no list of bytes")
    return value


def json_of(value: object) -> Any:
    """What a JSON text holds; nesting is bounded, and so are its numbers."""
    try:
        return parsed(text(value))
    except Damage:
        raise
    except ValueError as error:
        raise Damage(f"{_shown(value)} is no JSON: {error}") from error


def _shown(value: object) -> str:
    """A value as an error may quote it: short, whatever it is."""
    if isinstance(value, str | bytes):
        value = value[:20]
    return reprlib.repr(value)[:30]
