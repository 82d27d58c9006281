"""How a chain can be run over a few candidates of a row instead of all of them.

Up to its first stage that needs to see all candidates a chain changes or drops tokens one by one:
those of a few ids, besides dividing all logits by the temperature. If that stage keeps only the
best, whatever lies below them needs no look at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from llterm.core.distribution import Reals
from llterm.core.sampling.sampler_settings import SamplerSettings
from llterm.core.sampling.stage_types import Stage
from llterm.core.sampling.stages import active_stages, fixed_temperature

Real = TypeVar("Real", float, Reals)

_SPARE = 24
"""Candidates looked at besides the k best: some may be barred or penalised."""
_LARGEST_SHARE = 16
"""Where the k best are more than this part of a vocabulary, all of it is looked at."""
_ROUNDING = 2.0**-23
"""Twice that of a float32."""


class Knobs(NamedTuple, Generic[Real]):
    """Numbers that stages of a row take, or of many rows, shape (rows,) each."""

    divisor: Real
    """What the stages before all must be seen divide the logits of all by."""
    temperature: Real
    top_k: Real
    top_p: Real
    log_min_p: Real
    repeat: Real
    frequency: Real
    presence: Real


@dataclass(frozen=True, slots=True)
class StagePlan:
    """The active stages of some settings, less bans of ids, split where all must be seen."""

    single: tuple[tuple[str, Stage], ...]
    """Those that look at each candidate for itself, the temperature included."""
    temperature: float
    """What `single` divides the logits of all by."""
    together: tuple[tuple[str, Stage], ...]
    """Those after them, if the first keeps the best only, that are run over many rows at once:
    `top_k`, `top_p`, `min_p`, `temperature`, and `best`, which is no temperature."""
    apart: tuple[tuple[str, Stage], ...]
    """All after these."""
    bound: str | None
    """The stage that keeps only the best of all."""
    knobs: Knobs[float]

    @classmethod
    def of(cls, settings: SamplerSettings, size: int) -> StagePlan:
        """For rows of `size` candidates."""
        stages = [
            ("best" if name == "temperature" and fixed_temperature(settings) == 0 else name, stage)
            for name, stage in active_stages(settings)
            if name != "ban"
        ]
        together = {"top_k", "top_p", "min_p", "best"}
        if fixed_temperature(settings):
            together.add("temperature")
        temperature, count = 1.0, 0
        for name, _ in stages:
            if name == "temperature" and name in together:
                temperature = settings.temperature
            elif name not in ("logit_bias", "penalties", "dry"):
                break
            count += 1
        end = count
        while end < len(stages) and stages[end][0] in together:
            end += 1
        s, single, rest = settings, tuple(stages[:count]), tuple(stages[count:])
        knobs = Knobs(
            temperature, s.temperature, float(s.top_k), s.top_p,
            math.log(s.min_p) if s.min_p > 0 else -math.inf,
            s.repeat_penalty, s.frequency_penalty, s.presence_penalty,
        )  # fmt: skip
        bound = rest[0][0] if end > count else None
        plan = cls(single, temperature, rest[: end - count], rest[end - count :], bound, knobs)
        if bound in ("top_k", "best") and plan.looked_at * _LARGEST_SHARE > size:
            return cls(single, temperature, (), rest, None, knobs)
        return plan

    @property
    def signature(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Rows whose plans have the same one go through the same stages together."""
        return tuple(name for name, _ in self.single), tuple(name for name, _ in self.together)

    @property
    def plain(self) -> bool:
        """Whether all logits are divided alike, if at all, and all candidates or the best left."""
        names = [name for name, _ in (*self.single, *self.together)]
        return not self.apart and names in ([], ["temperature"], ["best"])

    @property
    def looked_at(self) -> int:
        """How many of a row's best are to be looked at, where they are bounded by their number."""
        return (int(self.knobs.top_k) if self.bound == "top_k" else 1) + _SPARE


def mass_error(mass: Reals, size: int, temperature: Reals) -> Reals:
    """By how much sums of `size` exponentials and less, taken in float32 of numbers e to the power
    of s / T, s ≤ 0, may be wrong.

    An exponent s / T was rounded some four times, each time by 2⁻²⁴ of a number up to |s| / T or
    the row's norm, which is at most ln n. Of a sum m the mean of |s| / T is at most ln n - ln m, as
    an entropy is at most ln n.
    """
    deepest = math.log(size) - np.log(
        np.minimum(mass, 1.0), where=mass > 0, out=np.zeros_like(mass)
    )
    return np.asarray(mass * _ROUNDING * (8 + deepest * (4 + 1 / temperature)))
