"""Numbers as the screen says them: percents, bits, bars, and the line under the suggestion tree.

Pure: no Textual. Probabilities are 0 to 1, logprobs natural logs.
"""

from __future__ import annotations

import math

from llterm.core.counts import count_of
from llterm.core.view import View
from llterm.session.status import Figures

_EIGHTHS = " ▏▎▍▌▋▊▉█"
_TINY = 0.0005
"""Below this a percent with one decimal says nothing; bits do."""


def bar(p: float, width: int) -> str:
    """A bar of exactly `width` cells, full at p = 1. Something above 0 always shows."""
    eighths = max(round(min(p, 1.0) * width * 8), 1 if p > 0 else 0)
    whole, part = divmod(eighths, 8)
    return ("█" * whole + (_EIGHTHS[part] if part else "")).ljust(width)


def bits(logprob: float) -> str:
    """Surprisal in bits."""
    return f"{max(-logprob / math.log(2), 0.0):.1f} bits"


def percent(p: float) -> str:
    """A percent in at most six cells; bits when it would read 0.0 %."""
    if p >= 0.9995:
        return "100%"
    if p >= _TINY:
        return f"{100 * p:.1f}%"
    return f"{min(-math.log2(p), 999):.1f}b" if p > 0 else "0%"


def fine_percent(p: float) -> str:
    """A percent with two significant digits; bits when tiny."""
    if p >= 0.0995:
        return f"{100 * p:.0f}%"
    if p >= _TINY:
        return f"{100 * p:.{1 - math.floor(math.log10(100 * p))}f}%"
    return percent(p)


def joint(logprob: float, tokens: int) -> str:
    """What a selected branch says of itself."""
    p = math.exp(logprob)
    mean = math.exp(logprob / tokens) if tokens else 1.0
    return " · ".join(
        [
            f"joint {fine_percent(p)}, {bits(logprob)}" if p >= _TINY else f"joint {bits(logprob)}",
            f"mean {100 * mean:.0f}%",
            count_of(tokens, "token"),
        ]
    )


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
