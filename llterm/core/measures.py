"""Numbers that files bring along, as what they are to mean."""

from __future__ import annotations

LEAST_LOGPROB = -1e6
"""Natural log below which programs mean "impossible"; so many add up to a number still."""
ROUNDING = 1e-3
"""By so much programs that round their sums tell more than certainty."""
NEWEST = 2.5e11
"""Seconds since 1970 that every calendar has still."""


def logprob_of(value: object) -> float | None:
    """A natural log of a probability; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not value <= ROUNDING:
        return None
    return float(min(max(value, LEAST_LOGPROB), 0.0))


def moment_of(value: object) -> float | None:
    """Seconds since 1970; None for what is no moment."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value <= NEWEST else None
