"""Tokens as they can be shown: one at a time, or those among which a character is split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

_MOST = 8
"""Tokens that may share one character; more are shown apart, broken or not."""


def by_character(tokens: Iterable[T], data_of: Callable[[T], bytes]) -> Iterator[list[T]]:
    """The tokens in order, those together that share a character."""
    group: list[T] = []
    for token in tokens:
        group.append(token)
        if len(group) >= _MOST or _ends_whole(b"".join(map(data_of, group))):
            yield group
            group = []
    if group:
        yield group


def _ends_whole(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        # A character that is not over yet may go on in the next token; a broken one may not.
        return error.reason != "unexpected end of data"
    return True
