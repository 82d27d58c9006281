"""One reading on every screen: heat rises in lightness whatever colours there are."""

from __future__ import annotations

from itertools import pairwise

import pytest
from rich.color import Color, ColorSystem

from llterm.ramps import RGB, Depth, ansi, indexed, paint, signed_paint

HEATS = [n / 40 for n in range(41)]
DEPTHS: list[Depth] = ["truecolor", "256", "16"]


def lightness(color: RGB) -> float:
    """Relative luminance, as WCAG 2.2 defines it."""
    linear = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (one / 255 for one in color)
    )
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("depth", DEPTHS)
def test_hotter_is_lighter(depth: Depth) -> None:
    shown = [lightness(paint(heat, depth).back) for heat in HEATS]
    assert all(one <= other + 1e-9 for one, other in pairwise(shown))
    assert len(set(shown)) >= 5


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_larger_value_of_either_sign_is_lighter(depth: Depth) -> None:
    for sign in (1, -1):
        shown = [lightness(signed_paint(sign * heat, depth).back) for heat in HEATS]
        assert all(one <= other + 1e-9 for one, other in pairwise(shown))
    assert signed_paint(1, depth).back != signed_paint(-1, depth).back


@pytest.mark.parametrize("depth", DEPTHS)
def test_text_can_be_read_upon_every_heat(depth: Depth) -> None:
    paints = [one(heat, depth) for heat in HEATS for one in (paint, signed_paint)]
    paints += [signed_paint(-heat, depth) for heat in HEATS]
    for back, ink in paints:
        low, high = sorted((lightness(back), lightness(ink)))
        assert (high + 0.05) / (low + 0.05) >= 4.5


@pytest.mark.parametrize(
    ("depth", "system"), [("256", ColorSystem.EIGHT_BIT), ("16", ColorSystem.STANDARD)]
)
def test_the_screen_gets_the_very_colour_that_was_chosen(depth: Depth, system: ColorSystem) -> None:
    for heat in HEATS:
        sent = Color.from_rgb(*paint(heat, depth).back).downgrade(system).number
        assert sent == (indexed(heat) if depth == "256" else ansi(heat))
