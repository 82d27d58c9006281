"""How good a classification is where the truth is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llterm.core.distribution import Reals

BINS = 15
"""Of the expected calibration error, equally wide: as Guo et al. (2017) have them."""


@dataclass(frozen=True, slots=True)
class LabelMetrics:
    """Of one label against all others."""

    precision: float
    """NaN where it was never chosen."""
    recall: float
    """NaN where it is never true."""
    f1: float


@dataclass(frozen=True, slots=True)
class ClassificationMetrics:
    """Of rows whose label is known."""

    rows: int
    abstained: int
    accuracy: float
    """Share of all rows that are right; one that abstains is not."""
    accuracy_answered: float
    """Of those that answer; NaN where none does."""
    macro_f1: float
    """Mean over the labels that are chosen or true at all."""
    labels: tuple[LabelMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    """A row for each true label: how often each was chosen, and last how often none was."""
    ece: float
    """Expected calibration error."""
    brier: float
    """Mean over the rows of Σ (p − truth)² over the labels (Brier 1950): 0 to 2."""
    nll: float
    """Mean −ln p of the true label, in nats."""


def measure(p: Reals, truth: Sequence[int], chosen: Sequence[int]) -> ClassificationMetrics:
    """Of shares of shape (rows, labels), where `truth` is the index of each row's label, and
    `chosen` that of the label it was given, the number of labels where it abstains. There is one
    row at least."""
    count, size = p.shape
    true, given = np.array(truth), np.array(chosen)
    answered = given < size
    right = given == true
    table = np.zeros((size, size + 1), np.int64)
    np.add.at(table, (true, given), 1)
    of_labels = tuple(_label_metrics(table, label) for label in range(size))
    known = [each.f1 for each in of_labels if not math.isnan(each.f1)]
    own = p[np.arange(count), true]
    return ClassificationMetrics(
        rows=count,
        abstained=int((~answered).sum()),
        accuracy=float(right.mean()),
        accuracy_answered=float(right[answered].mean()) if answered.any() else math.nan,
        macro_f1=math.fsum(known) / len(known) if known else math.nan,
        labels=of_labels,
        confusion=tuple(tuple(row) for row in table.tolist()),
        ece=calibration_error(p.max(axis=1), p.argmax(axis=1) == true),
        brier=float(((p - np.eye(size)[true]) ** 2).sum(axis=1).mean()),
        nll=float(-np.log(np.maximum(own, 1e-300)).mean()),
    )


def calibration_error(confidence: Reals, right: np.ndarray) -> float:
    """The expected calibration error (Guo et al. 2017, eq. 3): Σ |bin|/n · |accuracy − confidence|
    over bins (m−1)/M < confidence ≤ m/M."""
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    gaps = np.bincount(bins, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / counts.sum())


def _label_metrics(table: np.ndarray, label: int) -> LabelMetrics:
    hits, chosen, true = table[label, label], table[:, label].sum(), table[label].sum()
    return LabelMetrics(
        precision=_ratio(hits, chosen),
        recall=_ratio(hits, true),
        f1=_ratio(2 * hits, chosen + true),
    )


def _ratio(part: int, whole: int) -> float:
    return float(part / whole) if whole else math.nan
