"""The screen without any colour, as NO_COLOR asks for: what colours told is told by style.

Textual would send shades of grey, which are colours to a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

_LIT = ("selected", "found", "foreground", "primary", "accent", "warning", "error", "success")
"""Colours that, behind a text, say something of it."""
_QUIET = ("faint", "ghost")
"""Colours of texts that step back."""

Look = tuple[frozenset[object], frozenset[object]]


class NoColor(LineFilter):
    """Takes colours away: a lit background becomes reverse, a quiet text dim."""

    def __init__(self, variables: Callable[[], Mapping[str, str]]) -> None:
        """`variables`: the theme's colours by name, which may change."""
        super().__init__()
        self._variables = variables

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        """The same texts in styles without colours."""
        variables = self._variables()
        look = _look(tuple(variables.get(name, "") for name in (*_LIT, *_QUIET)))
        return [
            Segment(text, None if style is None else _plain(style, look), control)
            for text, style, control in segments
        ]


@lru_cache(maxsize=8)
def _look(colors: tuple[str, ...]) -> Look:
    """What to look for: the lit backgrounds and the quiet foregrounds."""
    found = [Color.parse(one).rich_color.triplet if one else None for one in colors]
    lit, quiet = found[: len(_LIT)], found[len(_LIT) :]
    return frozenset(filter(None, lit)), frozenset(filter(None, quiet))


@lru_cache(maxsize=2048)
def _plain(style: Style, look: Look) -> Style:
    lit, quiet = look
    behind = style.bgcolor.triplet if style.bgcolor is not None else None
    front = style.color.triplet if style.color is not None else None
    return style.without_color + Style(
        reverse=True if behind in lit else None,
        dim=True if front in quiet and behind not in lit else None,
    )
