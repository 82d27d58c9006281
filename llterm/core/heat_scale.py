"""Readings as heat: what is expected is cold, what is not is hot, on a scale from 0 to 1."""

from __future__ import annotations

import math
from typing import Literal, get_args

from llterm.core.scored_text import TokenReading
from llterm.number_format import percent

Measure = Literal[
    "surprisal", "probability", "rank", "entropy", "varentropy", "first choice", "first five"
]
MEASURES: tuple[Measure, ...] = get_args(Measure)
HOTTEST_BITS = 12.0
"""Surprisal and entropy from here on look alike: one choice among 4,096."""
HOTTEST_RANK = 1000
HOTTEST_SPREAD = 20.0
"""Bits²: as far apart as two equal camps that differ by nine bits."""
MANY = 5
"""How many candidates the mass of the first ones counts."""

_SHARES = ("probability", "first choice", "first five")


def heat(reading: TokenReading, measure: Measure) -> float:
    """How hot a token is under a measure, 0 to 1."""
    return scale(value(reading, measure), measure)


def value(reading: TokenReading, measure: Measure) -> float:
    """The figure itself: bits, a probability, a rank; not a number where it is not known."""
    match measure:
        case "surprisal":
            return reading.surprisal
        case "probability":
            return reading.p
        case "rank":
            return float(reading.rank)
        case "entropy":
            return reading.entropy
        case "varentropy":
            return math.nan if reading.varentropy is None else reading.varentropy
        case "first choice":
            return reading.mass(1)
        case "first five":
            return reading.mass(MANY)


def scale(figure: float, measure: Measure) -> float:
    """A figure as heat: bits and the rank's logarithm evenly, probability the other way round."""
    if math.isnan(figure):
        return 0.0
    if measure in _SHARES:
        return 1.0 - min(max(figure, 0.0), 1.0)
    if measure == "rank":
        return min(math.log(max(figure, 1.0)) / math.log(HOTTEST_RANK), 1.0)
    return min(figure / (HOTTEST_SPREAD if measure == "varentropy" else HOTTEST_BITS), 1.0)


def told(reading: TokenReading, measure: Measure) -> str:
    """The figure with its unit; ≥ where it may be higher."""
    figure = value(reading, measure)
    least = "≥" if measure in reading.at_least else ""
    if math.isnan(figure):
        return f"{measure} not known"
    if measure in ("first choice", "first five"):
        return f"{measure} {percent(figure)}"
    if measure == "varentropy":
        return f"varentropy {figure:.1f} bits²"
    if measure == "probability":
        return percent(figure)
    if measure == "rank":
        return f"rank {least}{figure:,.0f}"
    name = "entropy " if measure == "entropy" else ""
    return f"{name}{least}{figure:.1f} bits"


def ends(measure: Measure) -> tuple[str, str]:
    """What the coldest and the hottest stand for, with the unit."""
    if measure in _SHARES:
        return "100%", "0%"
    if measure == "rank":
        return "1", f"{HOTTEST_RANK:,}+"
    if measure == "varentropy":
        return "0", f"{HOTTEST_SPREAD:.0f}+ bits²"
    return "0", f"{HOTTEST_BITS:.0f}+ bits"


def height(reading: TokenReading, measure: Measure) -> float:
    """A figure as the height of a bar, 0 to 1: the larger the higher, probabilities too."""
    hot = heat(reading, measure)
    return 1.0 - hot if measure in _SHARES else hot
