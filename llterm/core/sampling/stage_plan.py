"""How a chain can be run over a few candidates of a row instead of all of them.

Up to its first stage that needs to see all candidates a chain changes or drops tokens one by one:
those of a few ids, besides dividing all logits by the temperature. If that stage keeps only the
best, whatever lies below them needs no look at all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from llterm.core.distribution import Reals
from llterm.core.sampling.sampler_settings import SamplerSettings
from llterm.core.sampling.stage_types import Stage
from llterm.core.sampling.stages import active_stages, fixed_temperature

_SPARE = 24
"""Candidates looked at besides the k best: some may be barred or penalised."""
_LARGEST_SHARE = 16
"""Where the k best are more than this part of a vocabulary, all of it is looked at."""
_ROUNDING = 2.0**-23
"""Twice that of a float32."""
_BOUNDS = {"top_k", "top_p", "min_p", "best", "top_n_sigma"}
_AFTER = {"typical_p", "xtc", "dynamic"}
"""Further stages that are run over many rows once few candidates are left."""
_STEEPEST = 10.0
"""Most exponent of a temperature that moves: it multiplies what rounding does to an entropy."""
DYNAMIC_ERROR = 1e-8
"""By how much of themselves weights may be wrong after such a temperature."""


class Knobs(NamedTuple):
    """Numbers that stages of many rows take, shape (rows,) each."""

    divisor: Reals
    """What the stages before all must be seen divide the logits of all by."""
    temperature: Reals
    top_k: Reals
    top_p: Reals
    log_min_p: Reals
    repeat: Reals
    frequency: Reals
    presence: Reals
    sigma: Reals
    typical_p: Reals
    xtc_probability: Reals
    xtc_threshold: Reals
    lowest: Reals
    """Of a temperature that moves with the entropy."""
    span: Reals
    """By how much its highest is above that."""
    exponent: Reals

    @classmethod
    def of(cls, plans: Sequence[StagePlan]) -> Knobs:
        """Of a row for each plan."""
        return cls(*np.concatenate([plan.numbers for plan in plans]).reshape(len(plans), -1).T)


@dataclass(frozen=True, slots=True, eq=False)
class StagePlan:
    """The active stages of some settings, less bans of ids, split where all must be seen."""

    single: tuple[tuple[str, Stage], ...]
    """Those that look at each candidate for itself, the temperature included."""
    temperature: float
    """What `single` divides the logits of all by."""
    together: tuple[tuple[str, Stage], ...]
    """Those after them, if the first keeps the best only, that are run over many rows at once; by
    their names, but for a temperature of 0, which is `best`, and one that moves, `dynamic`."""
    apart: tuple[tuple[str, Stage], ...]
    """All after these."""
    bound: str | None
    """The stage that keeps only the best of all."""
    top_k: int
    numbers: Reals
    """The `Knobs`."""

    @classmethod
    def of(cls, settings: SamplerSettings, size: int) -> StagePlan:
        """For rows of `size` candidates."""
        stages = [
            (_name(name, settings), stage)
            for name, stage in active_stages(settings)
            if name != "ban"
        ]
        temperature, count = 1.0, 0
        for name, _ in stages:
            if name == "temperature":
                temperature = settings.temperature
            elif name not in ("logit_bias", "penalties", "dry"):
                break
            count += 1
        end = count
        if end < len(stages) and stages[end][0] in _BOUNDS:
            while end < len(stages) and stages[end][0] in _BOUNDS | _AFTER | {"temperature"}:
                end += 1
                if stages[end - 1][0] == "dynamic":
                    break
        single, rest = tuple(stages[:count]), tuple(stages[count:])
        together, apart = rest[: end - count], rest[end - count :]
        bound = together[0][0] if together else None
        looked_at = settings.top_k if bound == "top_k" else 1
        if bound in ("top_k", "best") and (looked_at + _SPARE) * _LARGEST_SHARE > size:
            together, apart, bound = (), rest, None
        numbers = _numbers(settings, temperature)
        return cls(single, temperature, together, apart, bound, settings.top_k, numbers)

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
        return (self.top_k if self.bound == "top_k" else 1) + _SPARE


def _name(name: str, settings: SamplerSettings) -> str:
    """A stage's name, and what a temperature is."""
    if name != "temperature":
        return name
    temperature = fixed_temperature(settings)
    if temperature is None:
        gentle = 0 <= settings.dynatemp_exponent <= _STEEPEST
        return "dynamic" if gentle else "steep"
    return name if temperature else "best"


def _numbers(settings: SamplerSettings, temperature: float) -> Reals:
    s = settings
    lowest = max(0.0, s.temperature - s.dynatemp_range)
    return np.array([
        temperature, s.temperature, s.top_k, s.top_p,
        math.log(s.min_p) if s.min_p > 0 else -math.inf,
        s.repeat_penalty, s.frequency_penalty, s.presence_penalty,
        s.top_n_sigma, s.typical_p, s.xtc_probability, s.xtc_threshold,
        lowest, s.temperature + s.dynatemp_range - lowest, s.dynatemp_exponent,
    ], np.float64)  # fmt: skip


def mass_error(mass: Reals, size: int, temperature: Reals) -> Reals:
    """By how much sums of `size` exponentials and less, taken in float32 of numbers e to the power
    of s / T, s ≤ 0, may be wrong."""
    small = np.minimum(mass, 1.0)
    logs = np.log(small, where=mass > 0, out=np.zeros_like(mass))
    return mass * error_share(math.log(size) - logs, temperature)


def error_share(depth: Reals | float, temperature: Reals) -> Reals:
    """By how much of itself such a sum of m may be wrong, `depth` being ln n - ln m.

    An exponent s / T was rounded some four times, each time by 2⁻²⁴ of a number up to |s| / T or
    the row's norm, which is at most ln n. Of a sum m the mean of |s| / T is at most ln n - ln m, as
    an entropy is at most ln n.
    """
    return np.asarray(_ROUNDING * (8 + depth * (4 + 1 / temperature)), np.float64)
