"""Readings as heat: what is expected is cold, what is not is hot, on a scale from 0 to 1."""

from __future__ import annotations

import math
from typing import Literal

from llterm.core.reading import Reading

Measure = Literal["surprisal", "probability", "rank", "entropy"]
MEASURES: tuple[Measure, ...] = ("surprisal", "probability", "rank", "entropy")
HOTTEST_BITS = 12.0
"""Surprisal and entropy from here on look alike: one choice among 4,096."""
HOTTEST_RANK = 1000


def heat(reading: Reading, measure: Measure) -> float:
    """How hot a token is under a measure, 0 to 1."""
    return scale(value(reading, measure), measure)


def value(reading: Reading, measure: Measure) -> float:
    """The figure itself: bits, a probability, a rank."""
    if measure == "surprisal":
        return reading.surprisal
    if measure == "probability":
        return reading.p
    return float(reading.rank) if measure == "rank" else reading.entropy


def scale(figure: float, measure: Measure) -> float:
    """A figure as heat: bits and the rank's logarithm evenly, probability the other way round."""
    if measure == "probability":
        return 1.0 - min(max(figure, 0.0), 1.0)
    if measure == "rank":
        return min(math.log(max(figure, 1.0)) / math.log(HOTTEST_RANK), 1.0)
    return min(figure / HOTTEST_BITS, 1.0)


def told(figure: float, measure: Measure) -> str:
    """The figure with its unit."""
    if measure == "probability":
        return f"{figure:.1%}" if figure >= 0.0005 else f"2^{math.log2(max(figure, 1e-300)):.0f}"
    if measure == "rank":
        return f"rank {figure:,.0f}"
    return f"{figure:.1f} bits"
