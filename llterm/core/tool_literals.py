"""Texts of a tool format found in a reply: with slots in them, and perhaps not whole yet."""

from __future__ import annotations

import re

from llterm.core.tool_format import ID, NUMBER

PARTIAL = -1
"""So far it fits, and more has to come."""
_SLOTS = {ID: re.compile(r"[A-Za-z0-9]*"), NUMBER: re.compile(r"[0-9]*")}


def literal_end(literal: str, text: str, start: int = 0, *, exact: bool = True) -> int | None:
    """Where the literal ends that the text holds from `start` on; `PARTIAL` where the text ends
    before; None where it holds another. Not `exact`: blanks in the literal are any blanks, or none.
    """
    place = 0
    while place < len(literal):
        sign = literal[place]
        if slot := _SLOTS.get(sign):
            match = slot.match(text, start)
            assert match is not None
            if match.end() == len(text):
                return PARTIAL
            if match.end() == start:
                return None
            start = match.end()
        elif sign.isspace() and not exact:
            while start < len(text) and text[start].isspace():
                start += 1
        elif start == len(text):
            return PARTIAL
        elif text[start] == sign:
            start += 1
        else:
            return None
        place += 1
    return start
