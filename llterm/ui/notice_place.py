"""Where notices stand: over what can be read again, never over keys, figures and charts."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from textual.screen import Screen
from textual.widgets._toast import ToastRack

KEPT = "KeyBar, StatusLine, HeatPanel, ModelCharts, FindBar, #drawn, .setting--note, .dialog--keys"
"""What no notice may cover."""
_FEWEST = 3
"""Rows of a stretch in which a notice can be read."""


def place_notices(screen: Screen[Any]) -> None:
    """Let the notices of a screen stand in the longest stretch of rows that holds nothing of what
    is kept, at its end. Without one they stay above the last row."""
    height = screen.size.height
    kept: set[int] = set()
    for widget in screen.query(KEPT):
        kept.update(range(widget.region.y, widget.region.bottom))
    stretches = [
        list(rows) for free, rows in groupby(range(height), lambda row: row not in kept) if free
    ]
    # Of stretches that are as long the lowest: the eye is used to it.
    longest = max(reversed(stretches), key=len, default=[])
    if len(longest) < _FEWEST:
        longest = list(range(height - 1))
    for rack in screen.query_children(ToastRack):
        rack.styles.margin = (0, 0, height - 1 - longest[-1] if longest else 0, 0)
        rack.styles.max_height = len(longest)
