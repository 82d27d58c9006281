"""The keys of a dialog, each with its word: on as many lines as they need."""

from __future__ import annotations

import re

from rich.cells import cell_len
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

_BETWEEN = re.compile(r" {2,}")


class KeyLine(Widget):
    """Hints with two or more blanks between them; no line ends within one."""

    def __init__(self, hints: str, *, classes: str) -> None:
        super().__init__(classes=classes)
        self.hints = hints

    def render(self) -> Content:
        return Content("\n".join(packed(self.hints, self.content_size.width)))

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        return len(packed(self.hints, width))


def packed(hints: str, width: int) -> list[str]:
    """The lines of at most `width` cells that the hints take, with the blanks between them."""
    if cell_len(hints) <= width:
        return [hints]
    lines = [""]
    for hint in _BETWEEN.split(hints):
        longer = f"{lines[-1]}  {hint}" if lines[-1] else hint
        if cell_len(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(hint)
    return lines
