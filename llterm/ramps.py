"""Heat as colours and glyphs: one reading on every screen, for every eye. Pure: standard library.

Lightness rises with heat, blue to yellow (the order that cividis has, which red-green and
blue-yellow blindness leave alone), so the same text reads the same in grey.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

Depth = Literal["truecolor", "256", "16", "none"]
RGB = tuple[int, int, int]

_ANCHORS: tuple[tuple[float, RGB], ...] = (
    (0.0, (20, 28, 52)),
    (0.25, (36, 66, 112)),
    (0.5, (96, 104, 116)),
    (0.75, (178, 158, 96)),
    (1.0, (255, 228, 76)),
)
"""Heat and colour; between two of them it is mixed."""
_SIXTEEN: tuple[tuple[float, int], ...] = ((0.12, 0), (0.4, 4), (0.65, 8), (0.85, 3), (1.01, 11))
"""Upper heat and ANSI colour: black, blue, grey, yellow, bright yellow."""
_SHOWN: dict[int, RGB] = {
    0: (0, 0, 0), 4: (0, 0, 128), 8: (128, 128, 128), 3: (128, 128, 0), 11: (255, 255, 0),
    14: (0, 255, 255),
}  # fmt: skip
_FOR, _AGAINST = (255, 228, 76), (124, 192, 255)
"""Colours of the largest values of either sign: yellow and light blue, equally light."""
_NONE: RGB = (20, 24, 34)
_FOR_SIXTEEN = ((0.12, 0), (0.5, 3), (1.01, 11))
_AGAINST_SIXTEEN = ((0.12, 0), (0.5, 4), (1.01, 14))
GLYPHS = " ░▒▓█"
"""Without colours: one glyph a fifth."""
AGAINST = " .-=#"
"""The same for values below 0."""
_CUBE = (0, 95, 135, 175, 215, 255)


def rgb(heat: float) -> RGB:
    """The colour of a heat from 0 to 1."""
    heat = min(max(heat, 0.0), 1.0)
    for (low, cold), (high, warm) in pairwise(_ANCHORS):
        if heat <= high:
            share = (heat - low) / (high - low)
            return _mix(cold, warm, share)
    return _ANCHORS[-1][1]


def indexed(heat: float) -> int:
    """The nearest of the 256 colours' cube and greys."""
    wanted = rgb(heat)
    cube = tuple(min(range(6), key=lambda i: abs(_CUBE[i] - part)) for part in wanted)
    grey = min(range(24), key=lambda i: abs(8 + 10 * i - sum(wanted) // 3))
    level = 8 + 10 * grey
    far = _distance(wanted, (_CUBE[cube[0]], _CUBE[cube[1]], _CUBE[cube[2]]))
    if _distance(wanted, (level, level, level)) < far:
        return 232 + grey
    return 16 + 36 * cube[0] + 6 * cube[1] + cube[2]


def ansi(heat: float) -> int:
    """One of the 16 colours, 0 to 15."""
    return next(color for limit, color in _SIXTEEN if heat < limit or limit > 1)


def ansi_rgb(heat: float) -> RGB:
    """The same as a colour, as most terminals show it."""
    return _SHOWN[ansi(heat)]


def glyph(heat: float) -> str:
    """A block that is fuller the hotter it is."""
    return GLYPHS[min(int(max(heat, 0.0) * len(GLYPHS)), len(GLYPHS) - 1)]


def signed_rgb(value: float) -> RGB:
    """The colour of a value from −1 to 1: the larger, the lighter; its hue is its sign."""
    return _mix(_NONE, _FOR if value >= 0 else _AGAINST, min(abs(value), 1.0))


def signed_ansi_rgb(value: float) -> RGB:
    """The same of the 16 colours."""
    steps = _FOR_SIXTEEN if value >= 0 else _AGAINST_SIXTEEN
    return _SHOWN[next(color for limit, color in steps if abs(value) < limit or limit > 1)]


def signed_glyph(value: float) -> str:
    """A block for a value above 0, a stroke below, fuller the larger it is."""
    ramp = GLYPHS if value >= 0 else AGAINST
    return ramp[min(int(abs(value) * len(ramp)), len(ramp) - 1)]


def ink(heat: float) -> RGB:
    """Black or white, whichever is read better upon the heat's colour."""
    return ink_on(rgb(heat))


def ink_on(color: RGB) -> RGB:
    """Black or white, whichever is read better upon a colour."""
    red, green, blue = color
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 118 else (235, 235, 235)


def _mix(one: RGB, other: RGB, share: float) -> RGB:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _distance(one: RGB, other: RGB) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
