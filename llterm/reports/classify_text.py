"""Classified texts for a terminal: bars, lines, and how good they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from llterm.backends.remote.server_usage import counted_words
from llterm.core.chat_messages import OWN, UNSEEN
from llterm.core.classification.calibrations import TemperatureCalibration
from llterm.core.classification.classification_metrics import ClassificationMetrics
from llterm.core.classification.verdict_words import (
    ABSTAINS,
    certainty,
    label_bars,
    other_wanted,
    short_name,
)
from llterm.core.classification.verdicts import Verdict
from llterm.core.display_text import label_text
from llterm.jobs.classify import ClassifiedText, ClassifyResult, JudgedFigures
from llterm.number_format import LONGEST, bar, count_of, percent

LINE_BAR = 8
"""Columns of a full bar."""
_TEXT = 40


def classify_text(result: ClassifyResult) -> Iterator[str]:
    """Bars where there is one text, else a line for each answer; in parts."""
    if len(result.texts) == 1:
        for text, said in result.judged():
            yield "\n\n".join(bars(verdict) for verdict in said) + "\n" if said else _line(text)
        return
    for text, said in result.judged():
        yield "".join(_line(text, verdict) for verdict in said) or _line(text)


def bars(verdict: Verdict) -> str:
    """The question, and its labels with their shares."""
    question = [label_text(verdict.question)] if verdict.question else []
    return "\n".join([*question, *label_bars(verdict)])


def classify_summary(result: ClassifyResult) -> str:
    """What was done, what to look out for, and how good it is."""
    cost, count = result.cost, len(result.texts)
    lines = [
        f"{result.model}: {count_of(count, 'text')} classified in {result.seconds:.2f} s, "
        f"{count_of(cost.tokens, 'token')} evaluated in {count_of(cost.decodes, 'decode')}"
        + counted_words(result.counted)
    ]
    if count == 1:
        lines += [certainty(verdict) for _, said in result.judged() for verdict in said]
    lines += _notes(result)
    for figures in result.figures:
        lines += _figures(figures)
    return "\n".join(lines)


def _notes(result: ClassifyResult) -> Iterator[str]:
    said = [verdict for _, verdicts in result.judged() for verdict in verdicts]
    if note := other_wanted(said):
        yield note
    if result.settings.chat is not None and result.chat_format not in ("", OWN, UNSEEN):
        yield (
            f"{result.model} brings no chat template, and was perhaps never taught to reply: the "
            f"{result.chat_format} format was used."
        )
    if result.failed:
        first = next(text.error for text in result.texts if text.error)
        yield f"{count_of(result.failed, 'text')} not classified: {first.title}. {first.cause}"
    kind = result.settings.calibrate
    if kind is not None and any(judge.calibration is None for judge in result.judges):
        yield "Nothing is calibrated: no text tells its label."
    for judge in result.judges:
        if isinstance(judge.calibration, TemperatureCalibration):
            yield f"Temperature {judge.calibration.temperature:.4g}" + (
                ", fitted to these texts." if result.settings.temperature is None else "."
            )


def _figures(figures: JudgedFigures) -> Iterator[str]:
    now, raw = figures.calibrated, figures.raw
    asked = figures.asked
    name = label_text(asked.about.name if asked.about else asked.question)
    yield f"{name + ': ' if name else ''}{_figure_line(now)}"
    if now != raw:
        yield f"  raw: {_figure_line(raw)}"
    if len(asked.labels) <= 12:
        yield from _confusion([label.name for label in asked.labels], now)


def _figure_line(metrics: ClassificationMetrics) -> str:
    answered = (
        f" ({metrics.accuracy_answered:.1%} of those answered, {metrics.abstained:,} abstained)"
        if metrics.abstained
        else ""
    )
    return (
        f"accuracy {metrics.accuracy:.1%}{answered} of {count_of(metrics.rows, 'text')}, "
        f"macro F1 {metrics.macro_f1:.3f}, ECE {metrics.ece:.4f}, Brier {metrics.brier:.4f}, "
        f"{metrics.nll:.4f} nats"
    )


def _confusion(names: Sequence[str], metrics: ClassificationMetrics) -> Iterator[str]:
    """A row for each true label, a column for each chosen one."""
    columns = [*names, ABSTAINS] if metrics.abstained else list(names)
    cells = [short_name(name, 10) for name in columns]
    width = max(len(short_name(name, 16)) for name in names)
    yield f"  {'true':<{width}}  " + " ".join(f"{cell:>10}" for cell in cells)
    for name, row in zip(names, metrics.confusion, strict=True):
        counts = " ".join(f"{count:>10,}" for count in row[: len(columns)])
        yield f"  {short_name(name, 16):<{width}}  {counts}"


def _line(text: ClassifiedText, verdict: Verdict | None = None) -> str:
    said = label_text(text.row.text)
    shown = said if len(said) <= _TEXT else said[: _TEXT - 1] + "…"
    name = label_text(text.row.custom_id)
    if verdict is None:
        why = text.error.title if text.error is not None else ""
        return f"{name:>6}  {'!':<14}  {' ' * LINE_BAR}  {'':>{LONGEST}}  {shown}  {why}\n"
    chosen = ", ".join(label.name for label in verdict.chosen) or ABSTAINS
    best = max(share.p for share in verdict.labels)
    question = f"  {label_text(verdict.question)}" if verdict.question else ""
    return (
        f"{name:>6}  {short_name(chosen, 14):<14}  {bar(best, LINE_BAR)}  "
        f"{percent(best):>{LONGEST}}  {shown}{question}\n"
    )
