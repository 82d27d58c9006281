"""The figures against the published formulas, written out with Python's own statistics."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.comparison.conditions import parse
from llterm.core.comparison.divergence import LEAST
from llterm.core.comparison.quant_statistics import FEWEST_PLACES, NAMES, SNAPSHOTS, histogram
from llterm.core.comparison.reference_comparison import WORST, ReferenceComparison
from llterm.core.distribution import Reals
from llterm.core.logit_rows import Integers
from llterm.errors import UsageError

SIZE = 23


def texts(seed: int, count: int, apart: float) -> tuple[Reals, Reals, Integers]:
    """Logits of a reference and of a candidate near it, and the tokens of a text."""
    random = np.random.default_rng(seed)
    base = random.normal(0, 4, (count, SIZE))
    return base, base + random.normal(0, apart, base.shape), random.integers(0, SIZE, count)


def compared(base: Reals, other: Reals, tokens: Integers, part: int = 7) -> ReferenceComparison:
    comparison = ReferenceComparison("f16", ["q4"], range(len(tokens)))
    for start in range(0, len(tokens), part):
        cut = slice(start, start + part)
        comparison.add(base[cut], [other[cut]], tokens[cut], raw=True)
    return comparison


def plain(base: Reals, other: Reals, tokens: Integers) -> dict[str, float]:
    """Every figure, by the formulas."""
    kld, dp, nll, base_nll, same = [], [], [], [], 0
    for b, q, token in zip(base.tolist(), other.tolist(), tokens.tolist(), strict=True):
        lb = [x - max(b) - math.log(math.fsum(math.exp(y - max(b)) for y in b)) for x in b]
        lq = [x - max(q) - math.log(math.fsum(math.exp(y - max(q)) for y in q)) for x in q]
        kld.append(math.fsum(math.exp(p) * (p - r)
                             for p, r in zip(lb, lq, strict=True) if p > LEAST))  # fmt: skip
        dp.append(math.exp(lq[token]) - math.exp(lb[token]))
        nll.append(-lq[token])
        base_nll.append(-lb[token])
        same += lb.index(max(lb)) == lq.index(max(lq))
    n = len(kld)

    def error(values: list[float]) -> float:
        return math.sqrt(statistics.pvariance(values) / (n - 1))

    mean, base_mean = statistics.fmean(nll), statistics.fmean(base_nll)
    covariance = statistics.fmean(
        (a - mean) * (b - base_mean) for a, b in zip(nll, base_nll, strict=True)
    ) / (n - 1)
    apart = math.sqrt(error(nll) ** 2 + error(base_nll) ** 2 - 2 * covariance)
    rms = math.sqrt(statistics.fmean(x * x for x in dp))
    figures = {
        "ppl": math.exp(mean), "ppl ±": math.exp(mean) * error(nll),
        "ppl-base": math.exp(base_mean), "ppl-base ±": math.exp(base_mean) * error(base_nll),
        "correlation": covariance / error(nll) / error(base_nll),
        "ln-ppl-ratio": mean - base_mean, "ln-ppl-ratio ±": apart,
        "ppl-ratio": math.exp(mean - base_mean), "ppl-ratio ±": math.exp(mean - base_mean) * apart,
        "ppl-difference": math.exp(mean) - math.exp(base_mean),
        "kld": statistics.fmean(kld), "kld ±": error(kld),
        "dp": statistics.fmean(dp), "dp ±": error(dp),
        "rms-dp": rms, "rms-dp ±": 0.5 / rms * error([x * x for x in dp]),
        "same-top": same / n, "same-top ±": math.sqrt(same / n * (1 - same / n) / (n - 1)),
    }  # fmt: skip
    for name, values in (("kld", kld), ("dp", dp)):
        figures |= {f"{name}-max": max(values), f"{name}-min": min(values),
                  f"{name}-median": statistics.median(values)}  # fmt: skip
        for share in (99.9, 99, 95, 90, 10, 5, 1, 0.1):
            figures[f"{name}-{share:g}"] = float(np.quantile(values, share / 100))
    return figures


PERCENTILES = ("median", *(f"{share:g}" for share in (99.9, 99, 95, 90, 10, 5, 1, 0.1)))


@given(st.integers(0, 1000), st.integers(12, 250), st.sampled_from([0.01, 0.3, 2.0]))
@settings(max_examples=25)
def test_every_figure_is_its_formula(seed: int, count: int, apart: float) -> None:
    base, other, tokens = texts(seed, count, apart)
    comparison = compared(base, other, tokens)
    figures = comparison.figures(comparison.candidates[0])
    assert tuple(figures) == NAMES
    for name, value in plain(base, other, tokens).items():
        figure = figures[name.removesuffix(" ±")]
        mine = figure.error if name.endswith("±") else figure.value
        if count < FEWEST_PLACES and name.removeprefix("kld-").removeprefix("dp-") in PERCENTILES:
            assert not figure.known
            continue
        assert mine == pytest.approx(value, rel=1e-4, abs=1e-7), name


def test_a_model_against_itself_is_the_same_everywhere() -> None:
    base, _, tokens = texts(1, 50, 1.0)
    comparison = compared(base, base, tokens)
    figures = comparison.figures(comparison.candidates[0])
    assert figures["same-top"].value == 1.0
    assert figures["kld-max"].value == figures["kld"].value == 0.0
    assert figures["correlation"].value == pytest.approx(1.0)
    assert list(comparison.divergences(comparison.candidates[0])) == []


def test_places_hold_what_stands_there_and_what_was_expected() -> None:
    base, other, tokens = texts(2, 60, 1.0)
    comparison = compared(base, other, tokens)
    track = comparison.candidates[0].track
    assert comparison.tokens.tolist() == tokens.tolist()
    assert track.choice.tolist() == other.argmax(axis=1).tolist()
    expected = 1 + (other > other[np.arange(60), tokens][:, None]).sum(axis=1)
    assert track.rank.tolist() == expected.tolist()
    differing = np.flatnonzero(other.argmax(axis=1) != base.argmax(axis=1))
    assert list(comparison.divergences(comparison.candidates[0])) == differing.tolist()


def test_the_worst_places_are_the_worst() -> None:
    base, other, tokens = texts(3, 200, 1.0)
    comparison = compared(base, other, tokens)
    candidate = comparison.candidates[0]
    order = np.argsort(-candidate.track.kld.astype(float), kind="stable")[:WORST]
    assert [worst.number for worst in candidate.worst] == order.tolist()
    first = candidate.worst[0]
    assert first.base_top[0][0] == int(base[first.number].argmax())
    assert first.top[0][0] == int(other[first.number].argmax())
    assert len(first.top) == 5


def test_running_figures_end_in_the_final_ones_and_stay_few() -> None:
    base, other, tokens = texts(4, 2000, 0.5)
    comparison = compared(base, other, tokens, part=2)
    tally = comparison.candidates[0].statistics
    assert len(tally.running) <= SNAPSHOTS
    gaps = np.diff([mark.tokens for mark in tally.running])
    assert len(set(gaps.tolist())) <= 2
    assert tally.running[-1].tokens > 1900
    whole = compared(base, other, tokens, part=2000).candidates[0].statistics.now()
    for name, figure in tally.now().items():
        assert figure.value == pytest.approx(whole[name].value, rel=1e-9, abs=1e-12)


def test_a_histogram_loses_nothing() -> None:
    values = np.array([-1e-9, 0.0, 1e-7, 2e-3, 0.5, 9.0, 50.0])
    bins = histogram(values)
    assert sum(count for *_, count in bins) == len(values)
    assert bins[0][2] == 3
    assert bins[-1][2] == 2


@pytest.mark.parametrize(("text", "holds"), [
    ("same-top>=0.9,kld<0.5", [True, True]),
    (" same-top >= 99 % ", [False]),
    ("kld-99.9<=1e-3", [False]),
    ("dp>-0.5", [True]),
])  # fmt: skip
def test_conditions_are_read_and_hold_or_not(text: str, holds: list[bool]) -> None:
    base, other, tokens = texts(5, 100, 0.05)
    comparison = compared(base, other, tokens)
    figures = comparison.figures(comparison.candidates[0])
    figures["same-top"] = type(figures["same-top"])(0.95)
    assert [one.holds(figures) for one in parse(text, NAMES)] == holds


@pytest.mark.parametrize("text", ["", "same-top", "same_top>=1", "kld=<1", "kld<=", "kld<=.-"])
def test_a_condition_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text, NAMES)
