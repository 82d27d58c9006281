"""What is said of a text, as JSON has it, in files and over the wire."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from llterm.core.classification.calibrations import (
    BatchCalibration,
    ContextualCalibration,
    TemperatureCalibration,
)
from llterm.core.classification.verdicts import LabelJudge, LabelShare, Verdict
from llterm.core.json_text import text_fields


def answer_fields(verdict: Verdict, truth: Sequence[str] | None = None) -> dict[str, Any]:
    """What is said of one question. `truth`: the labels that are right, where they are known."""
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
        "labels": list(map(_share_fields, verdict.labels)),
    }


def calibration_fields(judge: LabelJudge) -> dict[str, Any]:
    """What was learned for one thing that is asked."""
    calibration, about = judge.calibration, judge.asked.about
    prior = temperature = None
    match calibration:
        case ContextualCalibration(content_free):
            prior = content_free.tolist()
        case BatchCalibration(means):
            prior = means.tolist()
        case TemperatureCalibration():
            temperature = calibration.temperature
    return {
        "question": judge.asked.question,
        "about": None if about is None else about.name,
        "labels": [label.name for label in judge.asked.labels],
        "kind": judge.kind if calibration is not None else None,
        "prior": prior,
        "temperature": temperature,
    }


def _share_fields(share: LabelShare) -> dict[str, Any]:
    return {
        "label": share.label.name,
        "p": share.p,
        "p_raw": share.p_raw,
        "logprob": share.logprob,
        "p_model": math.exp(min(share.logprob, 0.0)),
        "unseen": share.unseen,
        "logprob_no": share.against,
    }
