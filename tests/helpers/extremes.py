"""The ends of a setting's range."""

from __future__ import annotations

import math
import sys

from llterm.config.setting import Setting, Value

DENORMAL = math.ulp(0.0)
ODD = (DENORMAL, 1e-320, sys.float_info.min, 1e-17, 1 / 3, math.nextafter(1.0, 0.0), 1.0)
LARGE = {
    "bias": [("#5=1e308", "#5=1e308", "#6=-inf"), ("#5=-1e308", "#6=1e308"),
             (f"#{10**30}=1", f"#{'9' * 5000}=1", "#999999=1", "#-1=2")],
}  # fmt: skip
"""What is large inside a text."""


def extremes(row: Setting) -> list[Value]:
    """The ends of a setting's range, what is odd within it, and every choice."""
    if row.kind == "yes or no":
        return [False, True]
    if row.kind in ("whole number", "number"):
        low, high = row.low, row.high
        assert low is not None, f"{row.name} has no range"
        assert high is not None, f"{row.name} has no range"
        if row.kind == "whole number":
            return [one for one in (int(low), int(high), row.default) if fits(row, one)]
        ends = (low, high, math.nextafter(low, high), math.nextafter(high, low))
        values = (-0.0, *ends, *ODD, *(-one for one in ODD))
        return [one for one in map(float, values) if fits(row, one)]
    if row.kind == "list of texts":
        many = row.choices or tuple(f"word {number}" for number in range(100))
        few = row.choices[:1] or ("a",)
        return [(), many, few, row.default, *LARGE.get(row.name, ())]
    return list(row.choices) or [row.default]


def fits(row: Setting, value: object) -> bool:
    try:
        row.check(value)
    except ValueError:
        return False
    return True
