"""Heat as colours and glyphs: one reading on every screen, for every eye. Pure: standard library.

Lightness rises with heat, blue to yellow (the order that cividis has, which red-green and
blue-yellow blindness leave alone), so the same text reads the same in grey. Of 256 and of 16
colours the ramps are chosen by hand: the nearest colours would not rise evenly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, TypeVar

Depth = Literal["truecolor", "256", "16", "none"]
RGB = tuple[int, int, int]
T = TypeVar("T")

_ANCHORS: tuple[tuple[float, RGB], ...] = (
    (0.0, (20, 28, 52)),
    (0.25, (36, 66, 112)),
    (0.5, (96, 104, 116)),
    (0.75, (178, 158, 96)),
    (1.0, (255, 228, 76)),
)
"""Heat and colour; between two of them it is mixed."""
_FOR, _AGAINST = (255, 228, 76), (124, 192, 255)
"""Colours of the largest values of either sign: yellow and light blue, equally light."""
_NONE: RGB = (20, 24, 34)
GLYPHS = " ░▒▓█"
"""Without colours: one glyph a fifth."""
AGAINST = " .-=#"
"""The same for values below 0."""

_INDEXED = (17, 18, 24, 60, 244, 143, 185, 227)
"""Heat in the 256 colours: navy, blue, grey, khaki, yellow; a step an eighth."""
_INDEXED_FOR = (16, 58, 143, 227)
_INDEXED_AGAINST = (16, 24, 67, 117)
_ANSI = (0, 4, 8, 3, 11)
"""Heat in the 16 colours: black, blue, grey, yellow, bright yellow; a step a fifth."""
_ANSI_FOR = (0, 3, 11)
_ANSI_AGAINST = (0, 4, 14)

_WEIGHTS = (0.2126, 0.7152, 0.0722)
_CUBE = (0, 95, 135, 175, 215, 255)
_STANDARD: dict[int, RGB] = {
    0: (0, 0, 0), 3: (170, 85, 0), 4: (0, 0, 170), 8: (85, 85, 85), 11: (255, 255, 85),
    14: (85, 255, 255),
}  # fmt: skip
"""What Rich takes the terminal's own colours for: exactly these come out as those."""


class Paint(NamedTuple):
    """A background, and black or white upon it."""

    back: RGB
    ink: RGB


def rgb(heat: float) -> RGB:
    """The colour of a heat from 0 to 1."""
    heat = min(max(heat, 0.0), 1.0)
    for (low, cold), (high, warm) in pairwise(_ANCHORS):
        if heat <= high:
            share = (heat - low) / (high - low)
            return _mix(cold, warm, share)
    return _ANCHORS[-1][1]


def indexed(heat: float) -> int:
    """One of the 256 colours."""
    return _step(_INDEXED, heat)


def ansi(heat: float) -> int:
    """One of the 16 colours, 0 to 15."""
    return _step(_ANSI, heat)


def paint(heat: float, depth: Depth) -> Paint:
    """A heat from 0 to 1 in colours that a screen of this depth has."""
    if depth == "256":
        return _painted(_cube(indexed(heat)))
    return _painted(_STANDARD[ansi(heat)] if depth == "16" else rgb(heat))


def signed_paint(value: float, depth: Depth) -> Paint:
    """A value from −1 to 1: the larger, the lighter; its hue is its sign."""
    size, above = min(abs(value), 1.0), value >= 0
    if depth == "256":
        return _painted(_cube(_step(_INDEXED_FOR if above else _INDEXED_AGAINST, size)))
    if depth == "16":
        return _painted(_STANDARD[_step(_ANSI_FOR if above else _ANSI_AGAINST, size)])
    return _painted(_mix(_NONE, _FOR if above else _AGAINST, size))


def likely_paint(p: float, depth: Depth) -> Paint:
    """A probability: the likelier, the lighter, in blue alone, so that it is not taken for heat.

    Its root is what rises evenly, for most candidates are unlikely.
    """
    return signed_paint(-math.sqrt(min(max(p, 0.0), 1.0)), depth)


def glyph(heat: float) -> str:
    """A block that is fuller the hotter it is."""
    return _step(GLYPHS, heat)


def signed_glyph(value: float) -> str:
    """A block for a value above 0, a stroke below, fuller the larger it is."""
    return _step(GLYPHS if value >= 0 else AGAINST, abs(value))


def ink(color: RGB) -> RGB:
    """Black or white, whichever is read better upon a colour."""
    # Relative luminance as WCAG 2.2 defines it; at 0.179 both have a contrast of 4.58 to 1.
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (one / 255 for one in color)
    ]
    luminance = sum(weight * part for weight, part in zip(_WEIGHTS, linear, strict=True))
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def css(color: RGB) -> str:
    """A colour as style sheets write it."""
    return "#{:02x}{:02x}{:02x}".format(*color)


def _painted(color: RGB) -> Paint:
    return Paint(color, ink(color))


def _step(ramp: Sequence[T], heat: float) -> T:
    return ramp[min(int(max(heat, 0.0) * len(ramp)), len(ramp) - 1)]


def _cube(index: int) -> RGB:
    """The colour that an index from 16 on stands for."""
    if index >= 232:
        grey = 8 + 10 * (index - 232)
        return grey, grey, grey
    red, rest = divmod(index - 16, 36)
    green, blue = divmod(rest, 6)
    return _CUBE[red], _CUBE[green], _CUBE[blue]


def _mix(one: RGB, other: RGB, share: float) -> RGB:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue
