"""The rows from the cursor on while a ghost stands there: first it, then the rest of its line.

Pure: no Textual. What stands before the cursor keeps its place, so that it does not jump as ghosts
come and go; what follows is wrapped as after an accept.
"""

from __future__ import annotations

from dataclasses import dataclass

from llterm.ui.widgets.text_fit import wrap


@dataclass(frozen=True, slots=True)
class GhostRow:
    """Some of the ghost, then the text that follows the cursor, from one offset to another."""

    ghost: str
    start: int
    stop: int


def ghost_rows(ghost: str, rest: str, x: int, width: int) -> list[GhostRow]:
    """The rows of a ghost at cell `x` and of the rest of the line, in `width` cells.

    `ghost` may have line breaks, `rest` has none; neither has tabs. Nothing of either is lost.
    """
    width = max(width, 2)
    *whole, last = ghost.split("\n")
    rows: list[GhostRow] = []
    for text in whole:
        lines = wrap(text, width if rows else width - x, width)
        rows.extend(GhostRow(line, 0, 0) for line in lines)
    at = -len(last)
    for line in wrap(last + rest, width if rows else width - x, width):
        own = line[: max(-at, 0)]
        start, at = max(at, 0), at + len(line)
        rows.append(GhostRow(own, start, max(at, 0)))
    return rows
