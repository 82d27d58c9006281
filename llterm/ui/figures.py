"""The line under the suggestion tree, and speeds. Pure: no Textual."""

from __future__ import annotations

import math

from llterm.core.counts import count_of
from llterm.core.suggestion_tree import View
from llterm.number_format import fine_percent
from llterm.session.status import Figures


def found(figures: Figures, view: View, *, weaving: bool, stale: str, key: str) -> list[str]:
    """The pieces of the line under the tree, most telling first. `key` starts a weave.

    `stale` says why the suggestions are not of this place; empty where they are.
    """
    number = len(view.suggestions)
    pieces = [count_of(number, "suggestion")]
    if stale:
        return [f"stale: {stale}", f"{key} weaves here"]
    if not number and not weaving:
        return [""]
    if view.looked_at:
        pieces[0] += f" that differ, of {view.looked_at}"
    if number:
        pieces.append(f"{fine_percent(view.coverage[0])} at depth 1")
    if weaving:
        pieces.append(f"{view.settled} settled")
    if figures.seconds:
        pieces.append(f"{figures.seconds:.1f}s")
    if not weaving and not view.done:
        rest = f"{view.settled} settled, rest ≤{fine_percent(view.bound)}"
        pieces[1:1] = [f"budget used up, {key} goes on" if view.spent else f"{key} goes on", rest]
    return pieces


def spoken_speed(speed: float) -> str:
    """Tokens a second, in words."""
    return "as fast as the model goes" if math.isinf(speed) else f"{speed:g} tokens a second"


def fit(pieces: list[str], width: int) -> str:
    """As many of the pieces, in their order, as `width` cells hold; the first always."""
    line = pieces[0] if pieces else ""
    for piece in pieces[1:]:
        longer = f"{line} · {piece}"
        if len(longer) > width:
            continue
        line = longer
    return line[:width]
