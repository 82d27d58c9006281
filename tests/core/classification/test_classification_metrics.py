"""Accuracy, confusions, ECE and Brier, against their definitions counted by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.core.classification.classification_metrics import BINS, measure
from llterm.core.distribution import Reals

SHARES = st.lists(
    st.tuples(st.floats(0.01, 1), st.floats(0.01, 1), st.floats(0.01, 1)), min_size=1, max_size=40
).map(lambda rows: np.array([np.array(row) / sum(row) for row in rows]))


def counted_ece(p: Reals, truth: Sequence[int]) -> float:
    """Guo et al. 2017, eq. 3, bin by bin."""
    total = 0.0
    for m in range(1, BINS + 1):
        members = [n for n in range(len(p)) if (m - 1) / BINS < max(p[n]) <= m / BINS]
        if members:
            accuracy = sum(int(np.argmax(p[n])) == truth[n] for n in members) / len(members)
            confidence = sum(max(p[n]) for n in members) / len(members)
            total += len(members) / len(p) * abs(accuracy - confidence)
    return total


@given(p=SHARES, seed=st.integers(0, 1000))
def test_figures_are_their_definitions(p: Reals, seed: int) -> None:
    truth = np.random.default_rng(seed).integers(0, 3, len(p)).tolist()
    figures = measure(p, truth, p.argmax(axis=1).tolist())
    right = [int(np.argmax(row)) == true for row, true in zip(p, truth, strict=True)]
    assert figures.accuracy == figures.accuracy_answered == pytest.approx(sum(right) / len(p))
    assert figures.ece == pytest.approx(counted_ece(p, truth), abs=1e-9)
    brier = [sum((row[k] - (k == true)) ** 2 for k in range(3))
             for row, true in zip(p, truth, strict=True)]  # fmt: skip
    assert figures.brier == pytest.approx(sum(brier) / len(p))
    nll = [-math.log(row[true]) for row, true in zip(p, truth, strict=True)]
    assert figures.nll == pytest.approx(sum(nll) / len(p))
    assert sum(map(sum, figures.confusion)) == len(p)


def test_who_abstains_is_counted_apart() -> None:
    p = np.array([[0.9, 0.1], [0.55, 0.45], [0.2, 0.8], [0.4, 0.6]])
    figures = measure(p, [0, 1, 1, 0], [0, 2, 1, 1])
    assert (figures.rows, figures.abstained) == (4, 1)
    assert figures.accuracy == 0.5
    assert figures.accuracy_answered == pytest.approx(2 / 3)
    assert figures.confusion == ((1, 1, 0), (0, 1, 1))
    first, second = figures.labels
    assert (first.precision, first.recall) == (1.0, 0.5)
    assert (second.precision, second.recall) == (0.5, 0.5)
    assert figures.macro_f1 == pytest.approx((2 / 3 + 0.5) / 2)


def test_a_label_that_never_comes_has_no_figures() -> None:
    figures = measure(np.array([[0.9, 0.1, 0.0]]), [0], [0])
    assert math.isnan(figures.labels[2].f1)
    assert figures.macro_f1 == 1.0
