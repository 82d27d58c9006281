"""Classified texts as CSV: a line for each answer, a column for each label."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from llterm.core.classification.verdicts import Verdict
from llterm.jobs.classify import ClassifiedText, ClassifyResult

_ABOUT = ("custom_id", "question", "chosen", "truth", "margin", "entropy", "mass", "error")


def classify_csv(result: ClassifyResult) -> Iterator[str]:
    """In parts, a header first. Of every label its share, raw share and logprob."""
    questions = result.settings.questions
    names = list(dict.fromkeys(label.name for each in questions for label in each.labels))
    columns = [f"{kind}:{name}" for name in names for kind in ("p", "p_raw", "logprob")]
    yield _line([*_ABOUT, *columns])
    for text, said in result.judged():
        for verdict in said:
            yield _line(_answer(text, verdict, names))
        if text.error is not None:
            yield _line([text.row.custom_id, *[""] * (len(_ABOUT) - 2), text.error.title])


def _answer(text: ClassifiedText, verdict: Verdict, names: Sequence[str]) -> list[object]:
    shares = {share.label.name: share for share in verdict.labels}
    figures: list[object] = []
    for name in names:
        share = shares.get(name)
        figures += ["", "", ""] if share is None else [share.p, share.p_raw, share.logprob]
    truth = text.row.truth.get(verdict.question, ())
    chosen = "|".join(label.name for label in verdict.chosen)
    return [
        text.row.custom_id, verdict.question, chosen, "|".join(truth), verdict.margin,
        verdict.entropy, verdict.mass, "", *figures,
    ]  # fmt: skip


def _line(fields: Sequence[object]) -> str:
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow(fields)
    return written.getvalue()
