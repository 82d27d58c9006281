"""Calibrations as their papers have them, written down once more."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.core.classification.calibrations import (
    BatchCalibration,
    ContextualCalibration,
    Normalizer,
    TemperatureCalibration,
    shares,
)
from llterm.core.distribution import Reals

LOGPROBS = st.lists(
    st.lists(st.floats(-30, 0), min_size=3, max_size=3), min_size=1, max_size=8
).map(lambda rows: np.array(rows, float))


def renormalised(row: Reals) -> Reals:
    p = np.exp(row)
    one: Reals = p / p.sum()
    return one


@given(scores=LOGPROBS, content_free=LOGPROBS)
def test_contextual_is_zhaos_w_with_the_mean_over_content_free_inputs(
    scores: Reals, content_free: Reals
) -> None:
    p_cf = np.mean([renormalised(row) for row in content_free], axis=0)
    weights = np.linalg.inv(np.diag(p_cf))
    calibrated = ContextualCalibration.of(content_free).applied(scores)
    for row, found in zip(scores, calibrated, strict=True):
        expected = weights @ renormalised(row)
        assert found == pytest.approx(expected / expected.sum(), rel=1e-9, abs=1e-12)


@given(scores=LOGPROBS)
def test_batch_is_zhous_log_probability_less_the_batchs_mean(scores: Reals) -> None:
    logs = [[math.log(p) for p in renormalised(row)] for row in scores]
    means = [math.fsum(column) / len(logs) for column in zip(*logs, strict=True)]
    for row, found in zip(logs, BatchCalibration.of(scores).applied(scores), strict=True):
        less = np.array([p - mean for p, mean in zip(row, means, strict=True)])
        assert found == pytest.approx(renormalised(less), rel=1e-9, abs=1e-12)


@given(
    scores=LOGPROBS, truth=st.lists(st.integers(0, 2), min_size=8, max_size=8),
    other=st.floats(0.06, 90),
)  # fmt: skip
def test_temperature_is_guos_least_likelihood_loss(
    scores: Reals, truth: list[int], other: float
) -> None:
    def loss(temperature: float) -> float:
        rows = zip(scores, truth, strict=False)
        return math.fsum(-math.log(max(renormalised(row / temperature)[true], 1e-300))
                         for row, true in rows)  # fmt: skip

    fitted = TemperatureCalibration.of(scores, truth[: len(scores)])
    assert 0.05 <= fitted.temperature <= 100
    assert loss(fitted.temperature) <= loss(other) + 1e-9
    assert fitted.applied(scores) == pytest.approx(shares(scores / fitted.temperature))


def test_a_temperature_that_made_the_shares_is_found_again() -> None:
    random = np.random.default_rng(3)
    logits = random.normal(0, 2, (4000, 4))
    truth = [int(random.choice(4, p=renormalised(row / 2.5))) for row in logits]
    assert TemperatureCalibration.of(logits, truth).temperature == pytest.approx(2.5, rel=0.1)


def test_normalisations_are_lm_evals() -> None:
    logprobs = np.array([[-4.0, -9.0]])
    sizes = np.array([2.0, 9.0]), np.array([1.0, 3.0])
    assert Normalizer("none", *sizes).scores(logprobs) == pytest.approx(logprobs)
    assert Normalizer("bytes", *sizes).scores(logprobs)[0] == pytest.approx([-2, -1])
    assert Normalizer("tokens", *sizes).scores(logprobs)[0] == pytest.approx([-4, -3])
    pmi = Normalizer("pmi", *sizes, premise=np.array([-1.0, -8.0]))
    assert pmi.scores(logprobs)[0] == pytest.approx([-3, -1])


def test_what_has_no_probability_breaks_no_share() -> None:
    logprobs = np.array([[-math.inf, -1.0], [-math.inf, -math.inf], [-2.0, -1.0]])
    normalizer = Normalizer("none", np.ones(2), np.ones(2))
    scores = normalizer.scores(logprobs)
    for found in (
        shares(scores), ContextualCalibration.of(scores).applied(scores),
        BatchCalibration.of(scores).applied(scores),
        TemperatureCalibration.of(scores, [1, 0, 1]).applied(scores),
    ):  # fmt: skip
        assert np.isfinite(found).all()
        assert found.sum(axis=1) == pytest.approx(1.0)
