"""The last gates before the terminal: no colours under NO_COLOR, and only inert text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from textual.filter import LineFilter

from llterm.core.display_text import field_text

_LIT = ("selected", "found", "foreground", "primary", "accent", "warning", "error", "success")
"""Colours that, behind a text, say something of it."""
_QUIET = ("faint", "ghost")
"""Colours of texts that step back."""

Look = tuple[frozenset[object], frozenset[object]]


class NoColor(LineFilter):
    """Takes colours away: a lit background becomes reverse, a quiet text dim.

    Textual would send shades of grey, which are colours to a terminal.
    """

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


class InertFilter(LineFilter):
    """Draws a stand-in for each unsafe character, or nothing where that had no cell: rows keep
    their width.

    Texts are made fit to be shown where they are read from. This is for the one that was forgotten,
    in a label, a notice, a title or a tooltip of ours or of Textual's.
    """

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if all(text.isprintable() for text, _, _ in segments):
            return segments
        return [
            Segment(text if control or text.isprintable() else _inert(text), style, control)
            for text, style, control in segments
        ]


def _inert(text: str) -> str:
    return "".join(
        shown if shown == character or cell_len(character) == 1 else " " * cell_len(character)
        for character, shown in zip(text, field_text(text), strict=True)
    )
