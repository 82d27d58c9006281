"""The JSON of `classify`, whole and line by line, described in docs/json.md and
docs/schema/classify.json; and lines read again, where a run goes on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llterm.core.chat_messages import chat_fields
from llterm.core.classification.classification_metrics import ClassificationMetrics
from llterm.core.classification.classify_settings import ClassifySettings
from llterm.core.classification.labels import Label
from llterm.core.classification.verdict_fields import answer_fields, calibration_fields
from llterm.core.classification.verdicts import (
    AskedLabels,
    LabelScores,
    Verdict,
)
from llterm.core.json_text import json_text, text_value
from llterm.engine.classify import Scores
from llterm.errors import UsageError
from llterm.jobs.classify import ClassifiedText, ClassifyResult, JudgedFigures
from llterm.reports.json_values import cost_fields, streamed

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
        "calibrations": [calibration_fields(judge) for judge in result.judges],
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
        except (KeyError, TypeError, ValueError) as error:
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
        "accuracy_answered": metrics.accuracy_answered,
        "macro_f1": metrics.macro_f1,
        "ece": metrics.ece,
        "brier": metrics.brier,
        "nll": metrics.nll,
        "labels": [
            {
                "precision": each.precision,
                "recall": each.recall,
                "f1": each.f1,
            }
            for each in metrics.labels
        ],
        "confusion": [list(row) for row in metrics.confusion],
    }
