"""Statistics over the places of a text, with their errors, as llama-perplexity computes them.

Source: `kl_divergence` in llama.cpp's tools/perplexity/perplexity.cpp. Sums only: a place costs no
memory here but two numbers for the percentiles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from llterm.core.comparison.divergence import UNTOLD, ComparedTokens, ScoredTokens
from llterm.core.distribution import Reals

FEWEST = 10
"""Values; an error is given for more than this, a covariance for this many."""
FEWEST_PLACES = 100
"""Percentiles of fewer say nothing (llama-perplexity's limit)."""
SNAPSHOTS = 200
"""Most running figures kept; past it every other one goes."""
_KLD = (99.9, 99, 95, 90, 50, 10, 5, 1, 0.1)
_DP = (99.9, 99, 95, 90, 75, 50, 25, 10, 5, 1, 0.1)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, and one standard error of it where it has one."""

    value: float
    """NaN where there is too little to tell it from: few places, or rows that are not whole."""
    error: float | None = None

    @property
    def known(self) -> bool:
        return not math.isnan(self.value)


@dataclass(frozen=True, slots=True)
class RunningFigures:
    """The figures after some of the text."""

    tokens: int
    figures: Mapping[str, Estimate]


@dataclass(slots=True)
class _MomentSum:
    """Of values and their squares."""

    one: float = 0.0
    two: float = 0.0

    def add(self, values: Reals) -> None:
        self.one += float(values.sum())
        self.two += float((values * values).sum())

    def mean(self, count: int) -> Estimate:
        mean = self.one / count if count else 0.0
        if math.isnan(mean):
            return Estimate(math.nan)
        spread = self.two / count - mean * mean if count else 0.0
        error = math.sqrt(spread / (count - 1)) if spread > 0 and count > FEWEST else 0.0
        return Estimate(mean, error)


@dataclass(slots=True)
class QuantStatistics:
    """One candidate against the reference."""

    count: int = 0
    same: int = 0
    """Places with the same first choice."""
    untold: int = 0
    """Places where a first choice was not told."""
    _nll: _MomentSum = field(default_factory=_MomentSum)
    _base: _MomentSum = field(default_factory=_MomentSum)
    _cross: float = 0.0
    _kld: _MomentSum = field(default_factory=_MomentSum)
    _dp: _MomentSum = field(default_factory=_MomentSum)
    _squares: _MomentSum = field(default_factory=_MomentSum)
    _sure: float = 0.0
    running: list[RunningFigures] = field(default_factory=list)
    _every: int = 1
    _until: int = 1

    def add(self, base: ScoredTokens, compared: ComparedTokens) -> None:
        """Take in the next places."""
        nll, base_nll = -compared.seen.logprob, -base.logprob
        dp = np.exp(compared.seen.logprob) - np.exp(base.logprob)
        self.count += len(nll)
        told_choices = (compared.seen.choice != UNTOLD) & (base.choice != UNTOLD)
        self.same += int((told_choices & (compared.seen.choice == base.choice)).sum())
        self.untold += int((~told_choices).sum())
        self._nll.add(nll)
        self._base.add(base_nll)
        self._cross += float((nll * base_nll).sum())
        self._kld.add(compared.kld)
        self._dp.add(dp)
        self._squares.add(dp * dp)
        self._sure += float(compared.seen.choice_p.sum())

    def mark(self) -> None:
        """Keep the figures as they are now; many marks are thinned out evenly."""
        self._until -= 1
        if self._until or not self.count:
            return
        self.running.append(RunningFigures(self.count, self.now()))
        if len(self.running) >= SNAPSHOTS:
            del self.running[::2]
            self._every *= 2
        self._until = self._every

    @property
    def determinism(self) -> float:
        """Mean probability of the candidate's own first choice (VisuaLL's measure); NaN where one
        was not told."""
        return self._sure / self.count if self.count else 0.0

    def now(self) -> dict[str, Estimate]:
        """The figures that need no percentiles, in llama-perplexity's order."""
        n = self.count
        log, log_base = self._nll.mean(n), self._base.mean(n)
        log_error, base_error = log.error or 0.0, log_base.error or 0.0
        covariance = 0.0
        if n >= FEWEST:
            covariance = (self._cross / n - log.value * log_base.value) / (n - 1)
        ppl, ppl_base = _exp(log.value), _exp(log_base.value)
        ratio = log.value - log_base.value
        ratio_error = _root(log_error**2 + base_error**2 - 2 * covariance)
        errors = log_error * base_error
        spread = (ppl * log_error) ** 2 + (ppl_base * base_error) ** 2
        squares = self._squares.mean(n)
        rms = math.sqrt(squares.value)
        same = self.same / n if n else 0.0
        return {
            "ppl": Estimate(ppl, ppl * log_error),
            "ppl-base": Estimate(ppl_base, ppl_base * base_error),
            "correlation": Estimate(
                ratio if math.isnan(ratio) else covariance / errors if errors > 0 else 0.0
            ),
            "ln-ppl-ratio": Estimate(ratio, ratio_error),
            "ppl-ratio": Estimate(_exp(ratio), _exp(ratio) * ratio_error),
            "ppl-difference": Estimate(
                ppl - ppl_base, _root(spread - 2 * ppl * ppl_base * covariance)
            ),
            "kld": self._kld.mean(n),
            "dp": self._dp.mean(n),
            "rms-dp": Estimate(rms, 0.5 / rms * (squares.error or 0.0) if rms > 0 else 0.0),
            "same-top": Estimate(math.nan)
            if self.untold
            else Estimate(same, math.sqrt(same * (1 - same) / (n - 1)) if n > 1 else 0.0),
        }

    def figures(self, kld: Reals, dp: Reals) -> dict[str, Estimate]:
        """All figures; `kld` and `dp` are those of every place, shape (count,).

        Percentiles are not known below `FEWEST_PLACES`.
        """
        figures: dict[str, Estimate] = {}
        spreads = {"kld": _percentiles("kld", kld, _KLD), "dp": _percentiles("dp", dp, _DP)}
        for name, figure in self.now().items():
            figures[name] = figure
            figures.update(spreads.get(name, {}))
        return figures


def histogram(kld: Reals, bins: int = 24) -> list[tuple[float, float, int]]:
    """How many places have a KL divergence from a to below b, in powers of ten; the first bin
    holds everything below, the last everything above. None where it is not known (NaN)."""
    if np.isnan(kld).any():
        return []
    edges = np.logspace(-6, 1, bins + 1)
    where = np.clip(np.searchsorted(edges, kld, side="right") - 1, 0, bins - 1)
    counts = np.bincount(where, minlength=bins)
    return [(float(a), float(b), int(count)) for (a, b), count
            in zip(pairwise(edges), counts, strict=True)]  # fmt: skip


def _percentiles(name: str, values: Reals, shares: tuple[float, ...]) -> dict[str, Estimate]:
    """Maximum, percentiles and minimum; between two values by linear interpolation."""
    if not len(values):
        return {}
    ranked = np.sort(values)
    if math.isnan(ranked[-1]):
        ranked = np.full(len(values), math.nan)
    figures = {f"{name}-max": Estimate(float(ranked[-1]))}
    for share in shares:
        label = "median" if share == 50 else f"{share:g}"
        enough = len(values) >= FEWEST_PLACES
        figures[f"{name}-{label}"] = Estimate(
            _percentile(ranked, share / 100) if enough else math.nan
        )
    figures[f"{name}-min"] = Estimate(float(ranked[0]))
    return figures


def _percentile(ranked: Reals, share: float) -> float:
    place = share * (len(ranked) - 1)
    low = int(place)
    high = min(low + 1, len(ranked) - 1)
    part = place - low
    return float((1 - part) * ranked[low] + part * ranked[high]) if part else float(ranked[low])


def _root(x: float) -> float:
    """Rounding may leave a variance a hair below 0."""
    return math.sqrt(max(x, 0.0))


def _exp(x: float) -> float:
    return math.inf if x >= 700 else math.exp(x)


NAMES = tuple(QuantStatistics().figures(np.zeros(1), np.zeros(1)))
"""Every figure's name, in the order they are given."""
