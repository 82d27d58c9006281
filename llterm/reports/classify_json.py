"""The JSON of `classify`, whole and line by line, described in docs/json.md and
docs/schema/classify.json; and lines read again, where a run goes on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llterm.core.chat_messages import chat_fields
from llterm.core.classification.calibrations import (
    BatchCalibration,
    ContextualCalibration,
    TemperatureCalibration,
)
from llterm.core.classification.classification_metrics import ClassificationMetrics
from llterm.core.classification.classify_settings import ClassifySettings
from llterm.core.classification.labels import Label
from llterm.core.classification.verdicts import (
    AskedLabels,
    LabelJudge,
    LabelScores,
    LabelShare,
    Verdict,
)
from llterm.core.json_text import json_text
from llterm.engine.classify import Scores
from llterm.errors import UsageError
from llterm.jobs.classify import ClassifiedText, ClassifyResult, JudgedFigures
from llterm.reports.json_values import (
    cost_fields,
    number_value,
    probability,
    streamed,
    text_fields,
    text_value,
)

VERSION = 1


def classify_json(result: ClassifyResult) -> Iterator[str]:
    """One object, a text a line at its end, in parts. Pure ASCII, so that nothing in it can act on
    a terminal."""
    head = {
        "version": VERSION,
        "model": result.model,
        "vocabulary": result.fingerprint,
        "kernels": result.kernels,
        "settings": settings_fields(result.settings),
        "calibrations": [_calibration(judge) for judge in result.judges],
        "figures": [_figures(each) for each in result.figures],
        "failed": result.failed,
        "stats": cost_fields(result.cost, result.seconds),
    }
    return streamed(head, "texts", (text_fields_of(*each) for each in result.judged()))


def settings_fields(settings: ClassifySettings) -> dict[str, Any]:
    """All that counts for a verdict but the model."""
    return {
        "questions": [
            {"question": each.text, "labels": list(map(_label, each.labels))}
            for each in settings.questions
        ],
        "template": settings.template.source,
        "prefix": settings.prefix,
        "chat": chat_fields(settings.chat) if settings.chat is not None else None,
        "spellings": settings.spellings,
        "normalize": settings.normalize,
        "premise": settings.premise,
        "calibrate": settings.calibrate,
        "content_free": list(settings.content_free),
        "temperature": settings.temperature,
        "orders": settings.orders,
        "seed": settings.seed,
        "threshold": settings.threshold,
        "several": settings.several,
    }


class ClassifyLineFormat:
    """Results as lines of a file (`ClassifyLines`)."""

    def line(self, text: ClassifiedText, verdicts: Sequence[Verdict]) -> str:
        return json_text(text_fields_of(text, verdicts))

    def scores(self, line: Mapping[str, Any], asked: Sequence[AskedLabels]) -> Scores:
        try:
            answers = {each["question"]: each for each in line["answers"]}
            return [_scores(answers[each.question], each) for each in asked]
        except (KeyError, TypeError, ValueError, StopIteration) as error:
            raise UsageError(
                f"The result of {str(line.get('custom_id'))[:60]} cannot be read",
                "It does not have what llterm classify writes.",
                "Is this the right file? Choose another name with -o.",
            ) from error


def text_fields_of(text: ClassifiedText, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """One text with what is said of it."""
    row = text.row
    return {
        "custom_id": row.custom_id,
        "text": text_value(row.text.encode("utf-8", "surrogateescape")),
        "error": None if text.error is None else str(text.error),
        "answers": [answer_fields(each, row.truth.get(each.question)) for each in verdicts],
    }


def answer_fields(verdict: Verdict, truth: Sequence[str] | None = None) -> dict[str, Any]:
    """What is said of one question."""
    return {
        "question": verdict.question,
        "chosen": [label.name for label in verdict.chosen],
        "abstains": not verdict.chosen and not verdict.several,
        "truth": None if truth is None else list(truth),
        "margin": verdict.margin,
        "entropy": verdict.entropy,
        "mass": min(verdict.mass, 1.0),
        "other_wanted": verdict.little,
        "wanted": [{**text_fields(data), "p": min(p, 1.0)} for data, p in verdict.first],
        "labels": list(map(_share, verdict.labels)),
    }


def _share(share: LabelShare) -> dict[str, Any]:
    return {
        "label": share.label.name,
        "p": share.p,
        "p_raw": share.p_raw,
        "logprob": number_value(share.logprob),
        "p_model": probability(share.logprob),
        "unseen": share.unseen,
        "logprob_no": None if share.against is None else number_value(share.against),
    }


def _scores(answer: Mapping[str, Any], asked: AskedLabels) -> LabelScores:
    """What `answer_fields` was made of."""
    labels = {each["label"]: each for each in answer["labels"]}
    first = tuple((bytes(each["bytes"]), float(each["p"])) for each in answer["wanted"])
    if asked.about is not None:
        own = labels[asked.about.name]
        logprobs = (_logprob(own["logprob"]), _logprob(own["logprob_no"]))
        return LabelScores(logprobs, (float(own["unseen"]), 0.0), first)
    shares = [labels[label.name] for label in asked.labels]
    return LabelScores(
        tuple(_logprob(share["logprob"]) for share in shares),
        tuple(float(share["unseen"]) for share in shares),
        first,
    )


def _logprob(value: float | None) -> float:
    return -math.inf if value is None else float(value)


def _label(label: Label) -> dict[str, Any]:
    return {
        "label": label.name,
        "spellings": list(label.spellings),
        "description": label.description,
    }


def _calibration(judge: LabelJudge) -> dict[str, Any]:
    """What was learned for one thing that is asked."""
    calibration = judge.calibration
    about = judge.asked.about
    prior = None
    if isinstance(calibration, ContextualCalibration):
        prior = calibration.content_free.tolist()
    elif isinstance(calibration, BatchCalibration):
        prior = calibration.prior.tolist()
    return {
        "question": judge.asked.question,
        "about": None if about is None else about.name,
        "labels": [label.name for label in judge.asked.labels],
        "kind": judge.kind if calibration is not None else None,
        "prior": prior,
        "temperature": calibration.temperature
        if isinstance(calibration, TemperatureCalibration)
        else None,
    }


def _figures(figures: JudgedFigures) -> dict[str, Any]:
    about = figures.asked.about
    return {
        "question": figures.asked.question,
        "about": None if about is None else about.name,
        "labels": [label.name for label in figures.asked.labels],
        "calibrated": _metrics(figures.calibrated),
        "raw": _metrics(figures.raw),
    }


def _metrics(metrics: ClassificationMetrics) -> dict[str, Any]:
    return {
        "texts": metrics.rows,
        "abstained": metrics.abstained,
        "accuracy": metrics.accuracy,
        "accuracy_answered": number_value(metrics.accuracy_answered),
        "macro_f1": number_value(metrics.macro_f1),
        "ece": metrics.ece,
        "brier": metrics.brier,
        "nll": metrics.nll,
        "labels": [
            {
                "precision": number_value(each.precision),
                "recall": number_value(each.recall),
                "f1": number_value(each.f1),
            }
            for each in metrics.labels
        ],
        "confusion": [list(row) for row in metrics.confusion],
    }
