"""Prose as Markdown that shows it letter by letter, line by line."""

from __future__ import annotations

import re

_ANYWHERE = re.compile(r"[\\`*_\[\]<>&~|$]")
"""What Markdown reads as its own wherever it stands."""
_AT_START = re.compile(r"(?:[#+=:-]|\d+(?=[.)]))")
"""What makes a heading, a list or a rule of a line that begins with it."""
_BREAK = "  \n"
"""Two spaces: every Markdown knows this line break, old ones too."""
_INDENT = "&nbsp;"
_SPACE = " \t"
_TAB = 4


def prose(text: str) -> str:
    """Paragraphs as paragraphs; a line break inside of one, as in dialogue and verse, as one."""
    paragraphs = re.split(r"\n(?:[ \t]*\n)+", text.strip("\n"))
    lines = (map(line, filter(_holds, one.split("\n"))) for one in paragraphs)
    return "\n\n".join(filter(None, map(_BREAK.join, lines)))


def line(text: str) -> str:
    """A line that stays one; its indent stays too, and makes no code of it."""
    escaped = text.strip(_SPACE)
    indent = text[: len(text) - len(text.lstrip(_SPACE))].expandtabs(_TAB)
    escaped = _ANYWHERE.sub(r"\\\g<0>", escaped)
    begun = _AT_START.match(escaped)
    if begun:
        at = begun.end() if escaped[0].isdigit() else 0
        escaped = f"{escaped[:at]}\\{escaped[at:]}"
    return _INDENT * len(indent) + escaped


def _holds(text: str) -> bool:
    return bool(text.strip(_SPACE))
