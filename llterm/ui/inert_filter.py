"""The last gate before the terminal: no row of any widget holds what a terminal could obey.

Texts are made fit to be shown where they are read from. This is for the one that was forgotten,
in a label, a notice, a title or a tooltip of ours or of Textual's.
"""

from __future__ import annotations

from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter

from llterm.core.display import field_text


class InertFilter(LineFilter):
    """Draws a stand-in for each unsafe character, or nothing where that had no cell: rows keep
    their width."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:
        if all(text.isprintable() for text, _, _ in segments):
            return segments
        return [
            one if one.control or one.text.isprintable() else Segment(_inert(one.text), one.style)
            for one in segments
        ]


def _inert(text: str) -> str:
    return "".join(
        shown if shown == character or cell_len(character) == 1 else " " * cell_len(character)
        for character, shown in zip(text, field_text(text), strict=True)
    )
