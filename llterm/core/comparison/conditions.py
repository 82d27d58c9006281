"""Conditions on a comparison's figures, such as `same-top>=0.97,kld<=0.05`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from llterm.core.comparison.quant_statistics import Estimate
from llterm.errors import UsageError

_FORM = re.compile(r"\s*([a-z0-9.-]+?)\s*(>=|<=|>|<)\s*([-+0-9.eE]+)\s*(%?)\s*\Z")
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One figure and its bound."""

    name: str
    sign: str
    bound: float

    def holds(self, figures: Mapping[str, Estimate]) -> bool:
        return _COMPARE[self.sign](figures[self.name].value, self.bound)

    def __str__(self) -> str:
        return f"{self.name}{self.sign}{self.bound:g}"


def parse(text: str, names: Sequence[str]) -> tuple[Condition, ...]:
    """Conditions with commas between them, on figures of these names. Raises UsageError."""
    return tuple(_condition(part, names) for part in text.split(","))


def _condition(part: str, names: Sequence[str]) -> Condition:
    match = _FORM.match(part)
    example = "An example is same-top>=0.97,kld<=0.05."
    if match is None:
        raise UsageError(f"“{part.strip()}” is no condition", example, f"Known: {_all(names)}.")
    name, sign, number, percent = match.groups()
    if name not in names:
        near = get_close_matches(name, names, 1, 0.5)
        hint = f"Did you mean {near[0]}?" if near else f"Known: {_all(names)}."
        raise UsageError(f"There is no figure {name}", "", hint)
    try:
        bound = float(number)
    except ValueError:
        raise UsageError(f"{number} is not a number", example, "") from None
    return Condition(name, sign, bound / 100 if percent else bound)


def _all(names: Sequence[str]) -> str:
    return ", ".join(names)
