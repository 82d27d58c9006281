"""What is said of a text: shares among the labels, raw and calibrated, and the label chosen."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from llterm.core.classification.calibrations import (
    BatchCalibration,
    Calibration,
    CalibrationKind,
    Normalizer,
    TemperatureCalibration,
    shares,
)
from llterm.core.classification.labels import Label
from llterm.core.distribution import Reals
from llterm.core.spelled_sum import log_sum

LITTLE = 0.01
"""Of the model's probability: where all labels together have less, it wanted something else."""
EVEN = 0.5
"""Of several labels those fit that have so much, where no threshold says otherwise."""


@dataclass(frozen=True, slots=True)
class AskedLabels:
    """One thing that every text is asked: a question, and the labels that may answer it."""

    question: str
    labels: tuple[Label, ...]
    about: Label | None = None
    """Of several labels the one that it is about; `labels` are yes and no then."""


@dataclass(frozen=True, slots=True)
class LabelScores:
    """What a model gives to the labels after one text: facts, from which all else is derived."""

    logprobs: tuple[float, ...]
    """Natural logs of the labels' own probabilities; the mean of these, where orders were tried."""
    unseen: tuple[float, ...]
    """What was not looked at may add so much probability to each."""
    first: tuple[tuple[bytes, float], ...] = ()
    """The tokens that the model would begin with, and their probabilities."""

    @property
    def mass(self) -> float:
        """The probability of all labels together."""
        return math.exp(min(log_sum(self.logprobs), 0.0))


@dataclass(frozen=True, slots=True)
class LabelShare:
    """One label of a verdict."""

    label: Label
    p: float
    """Its share among the labels; of several labels, that it fits."""
    p_raw: float
    """The same before calibration."""
    logprob: float
    """The natural log of the model's own probability of it."""
    unseen: float
    mass: float
    """The probability of all labels that it is compared with."""
    against: float | None = None
    """Of several labels: the natural log of the probability that it does not fit."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of one text."""

    question: str
    labels: tuple[LabelShare, ...]
    """In the order given."""
    chosen: tuple[Label, ...]
    """One, or none where it abstains; of several labels all that fit."""
    margin: float
    """How far the best label is before the second; of several labels, the least certain one's
    distance from even."""
    entropy: float
    """Of the shares, in bits; of several labels the sum of theirs."""
    mass: float
    """The model's probability of all labels; of several labels the least that a pair has."""
    first: tuple[tuple[bytes, float], ...] = ()

    @property
    def several(self) -> bool:
        """Whether each label was asked about by itself."""
        return self.labels[0].against is not None

    @property
    def little(self) -> bool:
        """Whether the model wanted to say something else."""
        return self.mass < LITTLE


@dataclass(slots=True)
class LabelJudge:
    """Makes verdicts of scores, for one thing that is asked."""

    asked: AskedLabels
    normalizer: Normalizer
    calibration: Calibration | None = None
    threshold: float = 0.0
    kind: CalibrationKind | None = None
    """What `fit` looks for."""

    def scores(self, rows: Sequence[LabelScores]) -> Reals:
        """Normalised, of shape (rows, labels)."""
        logprobs = np.array([row.logprobs for row in rows], np.float64)
        return self.normalizer.scores(logprobs.reshape(len(rows), len(self.asked.labels)))

    def fit(self, rows: Sequence[LabelScores], truth: Sequence[int | None]) -> None:
        """Learn what a calibration needs of all rows; `truth` holds the index of each row's label
        where it is known. Without any such row there is no temperature to be fitted."""
        if self.kind == "batch" and rows:
            self.calibration = BatchCalibration.of(self.scores(rows))
        known = [place for place, label in enumerate(truth) if label is not None]
        if self.kind == "temperature" and self.calibration is None and known:
            labels = [label for label in truth if label is not None]
            of_known = self.scores([rows[place] for place in known])
            self.calibration = TemperatureCalibration.of(of_known, labels)

    def shares(self, rows: Sequence[LabelScores]) -> tuple[Reals, Reals]:
        """Calibrated and raw, each of shape (rows, labels)."""
        scores = self.scores(rows)
        raw = shares(scores)
        return (raw if self.calibration is None else self.calibration.applied(scores)), raw

    def choices(self, p: Reals) -> list[int]:
        """The label chosen in each row of shares, by index; the number of labels where it
        abstains. Of a label that is asked about by itself: whether it fits."""
        if self.asked.about is not None:
            return [0 if fits >= (self.threshold or EVEN) else 1 for fits in p[:, 0].tolist()]
        best, most = p.argmax(axis=1).tolist(), p.max(axis=1).tolist()
        return [
            label if share >= self.threshold else p.shape[1]
            for label, share in zip(best, most, strict=True)
        ]


def verdicts(
    judges: Sequence[LabelJudge], rows: Sequence[Sequence[LabelScores]]
) -> list[list[Verdict]]:
    """What is said of each text: a verdict for each question. `rows` holds, a text a row, the
    scores for each judge, in the judges' order."""
    columns = [
        zip(*judge.shares([row[place] for row in rows]), strict=True)
        for place, judge in enumerate(judges)
    ]
    return [[*_of_row(judges, row, [next(column) for column in columns])] for row in rows]


def _of_row(
    judges: Sequence[LabelJudge], row: Sequence[LabelScores], figures: Sequence[tuple[Reals, Reals]]
) -> Iterator[Verdict]:
    pairs: dict[str, list[int]] = {}
    for place, judge in enumerate(judges):
        if judge.asked.about is None:
            yield _of_one(judge, row[place], *figures[place])
        else:
            pairs.setdefault(judge.asked.question, []).append(place)
    for question, places in pairs.items():
        yield _of_several(
            question, [(judges[place], row[place], *figures[place]) for place in places]
        )


def _of_one(judge: LabelJudge, scores: LabelScores, p: Reals, raw: Reals) -> Verdict:
    """The best label, or none where even that has less than the threshold."""
    labels, mass = judge.asked.labels, scores.mass
    shares_of = [
        LabelShare(label, float(p[n]), float(raw[n]), scores.logprobs[n], scores.unseen[n], mass)
        for n, label in enumerate(labels)
    ]
    best, second = sorted(p.tolist(), reverse=True)[:2]
    (choice,) = judge.choices(p[None, :])
    return Verdict(
        judge.asked.question,
        tuple(shares_of),
        labels[choice : choice + 1],
        margin=best - second,
        entropy=entropy(p),
        mass=mass,
        first=scores.first,
    )


def _of_several(
    question: str, pairs: Sequence[tuple[LabelJudge, LabelScores, Reals, Reals]]
) -> Verdict:
    """Every label that fits by itself."""
    shares_of: list[LabelShare] = []
    chosen: list[Label] = []
    for judge, scores, p, raw in pairs:
        label = judge.asked.about
        assert label is not None
        shares_of.append(
            LabelShare(label, float(p[0]), float(raw[0]), scores.logprobs[0], scores.unseen[0],
                       scores.mass, scores.logprobs[1])
        )  # fmt: skip
        if judge.choices(p[None, :]) == [0]:
            chosen.append(label)
    least = min(pairs, key=lambda pair: pair[1].mass)[1]
    return Verdict(
        question,
        tuple(shares_of),
        tuple(chosen),
        margin=min(abs(share.p - EVEN) for share in shares_of),
        entropy=math.fsum(entropy(p) for _, _, p, _ in pairs),
        mass=least.mass,
        first=least.first,
    )


def entropy(p: Reals) -> float:
    """Of shares, in bits."""
    known = p[p > 0]
    return max(float(-(known * np.log2(known)).sum()), 0.0)
