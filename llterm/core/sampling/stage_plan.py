"""How a chain can be run over a few candidates of a row instead of all of them.

Up to its first stage that needs to see all candidates a chain changes or drops tokens one by one:
those of a few ids, besides dividing all logits by the temperature. If that stage keeps only the
best, whatever lies below them needs no look at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Bits, Reals
from llterm.core.sampling.candidates import Candidates
from llterm.core.sampling.sampler_settings import SamplerSettings
from llterm.core.sampling.stage_types import Position, Stage, marked, ranked
from llterm.core.sampling.stages import active_stages, fixed_temperature

_SLACK = 1e-3
"""Nats by which a bound lies lower than need be: float32 rounds."""
_SPARE = 24
"""Candidates looked at besides the k best: some may be barred or penalised."""
_GUESS = 16
_LARGEST_SHARE = 16
"""Where the k best are more than this part of a vocabulary, all of it is looked at."""
_ROUNDING = 2.0**-23
"""Twice that of a float32."""


@dataclass(frozen=True, slots=True)
class StagePlan:
    """The active stages of some settings, less bans of ids, split where all must be seen."""

    single: tuple[tuple[str, Stage], ...]
    """Those that look at each candidate for itself, the temperature included."""
    temperature: float
    """What `single` divides the logits of all by."""
    bound: tuple[str, Stage] | None
    """The next, where it keeps the best only: `top_k`, `top_p`, `min_p`, or no temperature."""
    rest: tuple[tuple[str, Stage], ...]
    """All after it; where there is no bound, all after `single`."""

    @classmethod
    def of(cls, settings: SamplerSettings, size: int) -> StagePlan:
        """For rows of `size` candidates."""
        stages = [(name, stage) for name, stage in active_stages(settings) if name != "ban"]
        temperature, count = 1.0, 0
        for name, _ in stages:
            if name == "temperature" and fixed_temperature(settings):
                temperature = settings.temperature
            elif name not in ("logit_bias", "penalties", "dry"):
                break
            count += 1
        single, rest = tuple(stages[:count]), tuple(stages[count:])
        if rest and _is_bound(rest[0][0], settings, size):
            return cls(single, temperature, rest[0], rest[1:])
        return cls(single, temperature, None, rest)

    @property
    def plain(self) -> bool:
        """Whether all logits are divided alike, if at all, and all candidates or the best left."""
        stages = (*self.single, *([self.bound] if self.bound else ()), *self.rest)
        fixed = not self.rest or self.bound is not None
        return fixed and len(stages) <= 1 and all(name == "temperature" for name, _ in stages)

    def best(self, settings: SamplerSettings) -> int:
        """How many of a row's best are to be looked at; 0 where that is no matter of number."""
        if self.bound is None or self.bound[0] not in ("top_k", "temperature"):
            return 0
        return _kept(self.bound[0], settings) + _SPARE

    def depth(self, settings: SamplerSettings, total: float, size: int) -> float:
        """Nats below a row's best logit down to which its candidates are to be looked at, where
        that is no matter of number. `total`: the sum of e to the power of each of its `size`
        logits below the best, over the temperature."""
        share = settings.min_p
        if self.bound is not None and self.bound[0] == "top_p":
            # Candidates `_GUESS` times rarer than this have less than 1 - top_p together; those
            # rarer than this nearly always do.
            share = min(_GUESS * (1 - settings.top_p) / size * total, 1.0)
        return -math.log(share) * self.temperature + _SLACK * (1 + self.temperature)


def _is_bound(name: str, settings: SamplerSettings, size: int) -> bool:
    if name == "top_k" or (name == "temperature" and fixed_temperature(settings) == 0):
        return (_kept(name, settings) + _SPARE) * _LARGEST_SHARE <= size
    return name in ("top_p", "min_p")


def _kept(name: str, settings: SamplerSettings) -> int:
    return settings.top_k if name == "top_k" else 1


@dataclass(frozen=True, slots=True)
class Unseen:
    """What is known of the candidates of a row that were not looked at."""

    most: float
    """None of their logits is above this."""
    mass: float = 0.0
    """The sum of e to the power of their logits below `best`."""
    error: float = 0.0
    """By how much `mass` and that of the others may be wrong together."""
    best: float = 0.0


def mass_error(total: float, size: int, temperature: float) -> float:
    """By how much a sum of `size` exponentials, taken in float32, may be wrong.

    An exponent s / T was rounded some four times, each time by 2⁻²⁴ of a number up to |s| / T or
    the row's norm, which is at most ln n; and Σ p·|s| / T is at most ln n too, as an entropy is.
    """
    return total * _ROUNDING * (8 + math.log(size) * (4 + 1 / temperature))


def bounded(
    plan: StagePlan,
    settings: SamplerSettings,
    seen: Candidates,
    position: Position,
    unseen: Unseen,
) -> Candidates | None:
    """What the plan's bound keeps of all candidates; None where those seen do not tell."""
    if plan.bound is None:
        return None
    name, stage = plan.bound
    if name == "top_p":
        keep = _top_p(settings, seen, unseen)
        if keep is None:
            return None
        kept = Candidates(seen.ids[keep], seen.logits[keep])
        return kept if kept.logits.min() > unseen.most else None
    if name == "min_p" and not seen.logits.max() + math.log(settings.min_p) > unseen.most:
        return None
    kept, _ = seen.after(name, stage, settings, position)
    if name == "min_p":
        return kept
    enough = len(kept.ids) == _kept(name, settings)
    return kept if enough and kept.logits.min() > unseen.most else None


def _top_p(settings: SamplerSettings, seen: Candidates, unseen: Unseen) -> Bits | None:
    """What top-p keeps, where rounding cannot have moved the border."""
    weights: Reals = np.exp(seen.logits - unseen.best)
    order: NDArray[np.intp] = ranked(seen.ids, seen.logits)
    mass = np.cumsum(weights[order])
    total = unseen.mass + float(mass[-1])
    low, high = total - unseen.error, total + unseen.error
    if not 0 < low <= high < math.inf:
        return None
    crossing = int(np.searchsorted(mass, settings.top_p * total, side="left"))
    if crossing == len(mass) or mass[crossing] < settings.top_p * high:
        return None
    if crossing and mass[crossing - 1] >= settings.top_p * low:
        return None
    return marked(order[: crossing + 1], len(order))
