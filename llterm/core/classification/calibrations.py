"""From what labels have to their shares, and the calibrations of these.

Rows are texts and columns labels, in natural logs. No probability is 0 here: what has none counts
as `LEAST`, so that nothing is divided by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from llterm.core.distribution import Reals

Normalization = Literal["none", "bytes", "tokens", "pmi"]
CalibrationKind = Literal["contextual", "batch", "temperature"]
LEAST = -700.0
"""The natural log that stands for a probability of 0."""
TEMPERATURES = (0.05, 100.0)
"""The least and the highest that is fitted: labels that are always right would have 0."""
_HALVINGS = 60


@dataclass(frozen=True, slots=True, eq=False)
class Normalizer:
    """How labels' logprobs become scores that can be compared. Shapes are (labels,)."""

    kind: Normalization
    bytes: Reals
    """Of each label's name as it is written, without the blank before it."""
    tokens: Reals
    """Of the tokenizer's own spelling of it."""
    premise: Reals | None = None
    """What each label has without the text, in natural logs; of `pmi` alone."""

    def scores(self, logprobs: Reals) -> Reals:
        """Of shape (…, labels) as they are, by byte (lm-eval's acc_bytes), by token, or less what
        they have anyway (Holtzman et al. 2021; lm-eval's acc_mutual_info)."""
        finite = np.maximum(logprobs, LEAST)
        if self.kind == "bytes":
            return finite / self.bytes
        if self.kind == "tokens":
            return finite / self.tokens
        if self.kind == "pmi":
            assert self.premise is not None
            return finite - np.maximum(self.premise, LEAST)
        return finite


def shares(scores: Reals) -> Reals:
    """Each row's softmax: what labels have of what all have."""
    return _of_whole(np.exp(scores - scores.max(axis=-1, keepdims=True)))


@dataclass(frozen=True, slots=True, eq=False)
class ContextualCalibration:
    """Zhao et al. 2021: q = W·p with W = diag(p_cf)⁻¹ and b = 0, given as shares."""

    content_free: Reals
    """p_cf: the mean of the shares that labels have after content-free inputs."""

    @classmethod
    def of(cls, scores: Reals) -> ContextualCalibration:
        """From the scores after such inputs, of shape (inputs, labels)."""
        return cls(shares(scores).mean(axis=0))

    def applied(self, scores: Reals) -> Reals:
        """The shares of rows of scores."""
        return _of_whole(shares(scores) / np.maximum(self.content_free, np.exp(LEAST)))


@dataclass(frozen=True, slots=True, eq=False)
class BatchCalibration:
    """Zhou et al. 2023: each label's log-probability less its mean over a batch, given as
    shares."""

    prior: Reals
    """That mean, of shape (labels,)."""

    @classmethod
    def of(cls, scores: Reals) -> BatchCalibration:
        """From the scores of the batch, of shape (rows, labels)."""
        return cls(_logs(scores).mean(axis=0))

    def applied(self, scores: Reals) -> Reals:
        """The shares of rows of scores."""
        return shares(_logs(scores) - self.prior)


@dataclass(frozen=True, slots=True)
class TemperatureCalibration:
    """Guo et al. 2017: the softmax of the scores divided by T."""

    temperature: float

    @classmethod
    def of(cls, scores: Reals, truth: Sequence[int]) -> TemperatureCalibration:
        """The T under which the true labels are most probable: the least negative log-likelihood.

        `scores` has shape (rows, labels), `truth` the index of each row's label. The likelihood
        is concave in 1/T, so the root of its derivative is found by halving.
        """
        own = scores[np.arange(len(truth)), np.array(truth)]
        sharpest, flattest = 1 / TEMPERATURES[0], 1 / TEMPERATURES[1]
        for _ in range(_HALVINGS):
            middle = (sharpest * flattest) ** 0.5
            if float((own - (shares(scores * middle) * scores).sum(axis=1)).sum()) > 0:
                flattest = middle
            else:
                sharpest = middle
        return cls(float((sharpest * flattest) ** -0.5))

    def applied(self, scores: Reals) -> Reals:
        """The shares of rows of scores."""
        return shares(scores / self.temperature)


Calibration = ContextualCalibration | BatchCalibration | TemperatureCalibration


def _logs(scores: Reals) -> Reals:
    """The natural logs of the shares."""
    logs: Reals = np.log(np.maximum(shares(scores), np.exp(LEAST)))
    return logs


def _of_whole(parts: Reals) -> Reals:
    """Each row as shares of its sum."""
    whole: Reals = parts / parts.sum(axis=-1, keepdims=True)
    return whole
