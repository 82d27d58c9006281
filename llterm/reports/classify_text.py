"""Classified texts for a terminal: bars, lines, and how good they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from llterm.backends.remote.remote_backend import counted_words
from llterm.core.classification.calibrations import TemperatureCalibration
from llterm.core.classification.classification_metrics import ClassificationMetrics
from llterm.core.classification.verdicts import Verdict
from llterm.core.display_text import label_text, visible
from llterm.jobs.classify import ClassifiedText, ClassifyResult, JudgedFigures
from llterm.number_format import LONGEST, bar, count_of, fine_percent, percent

BAR = 24
"""Columns of a full bar."""
LINE_BAR = 8
_NAME = 24
_TEXT = 40
ABSTAINS = "(none)"


def classify_text(result: ClassifyResult) -> Iterator[str]:
    """Bars where there is one text, else a line for each answer; in parts."""
    if len(result.texts) == 1:
        for text, said in result.judged():
            yield "\n\n".join(bars(verdict) for verdict in said) + "\n" if said else _line(text)
        return
    for text, said in result.judged():
        yield "".join(_line(text, verdict) for verdict in said) or _line(text)


def bars(verdict: Verdict) -> str:
    """Every label with its share, the most probable first."""
    shares = sorted(verdict.labels, key=lambda share: -share.p)
    width = min(max(len(label_text(share.label.name)) for share in shares), _NAME)
    calibrated = any(not math.isclose(share.p, share.p_raw, abs_tol=1e-9) for share in shares)
    lines = [label_text(verdict.question)] if verdict.question else []
    for share in shares:
        mark = "●" if share.label in verdict.chosen else " "
        raw = f"   raw {percent(share.p_raw)}" if calibrated else ""
        lines.append(
            f"{mark} {_cut(share.label.name, width):<{width}}  {bar(share.p, BAR)}  "
            f"{percent(share.p):>{LONGEST}}{raw}"
        )
    return "\n".join(lines)


def classify_summary(result: ClassifyResult) -> str:
    """What was done, what to look out for, and how good it is."""
    cost, count = result.cost, len(result.texts)
    lines = [
        f"{result.model}: {count_of(count, 'text')} classified in {result.seconds:.2f} s, "
        f"{count_of(cost.tokens, 'token')} evaluated in {count_of(cost.decodes, 'decode')}"
        + counted_words(result.counted)
    ]
    if count == 1:
        lines += [told(verdict) for _, said in result.judged() for verdict in said]
    lines += _notes(result)
    for figures in result.figures:
        lines += _figures(figures)
    return "\n".join(lines)


def told(verdict: Verdict) -> str:
    """How sure a verdict is."""
    names = ", ".join(label_text(label.name) for label in verdict.chosen) or ABSTAINS
    unseen = max(
        min(share.unseen / max(math.exp(share.logprob), 1e-300), 1.0) for share in verdict.labels
    )
    bound = f"; at most {fine_percent(unseen)} of a label not looked at" if unseen > 0 else ""
    return (
        f"{names}: margin {fine_percent(verdict.margin)}, entropy {verdict.entropy:.2f} bits; the"
        f" labels have {fine_percent(verdict.mass)} of all probability{bound}."
    )


def warning(verdicts: Sequence[Verdict], count: int) -> str:
    """That the model wanted something else; empty where it did not."""
    little = [verdict for verdict in verdicts if verdict.little]
    if not little:
        return ""
    least = min(little, key=lambda verdict: verdict.mass)
    rather = "  ".join(f"{visible(data)} {percent(p)}" for data, p in least.first)
    where = "The" if count == 1 else f"In {len(little):,} of {count:,} answers the"
    ends = f" Rather it begins: {rather}" if rather else ""
    return (
        f"{where} labels have less than 1% of all probability: the model wants to say something"
        f" else there, and shares tell little.{ends}"
    )


def _notes(result: ClassifyResult) -> Iterator[str]:
    said = [verdict for _, verdicts in result.judged() for verdict in verdicts]
    if note := warning(said, len(said)):
        yield note
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
    cells = [_cut(name, 10) for name in columns]
    width = max(len(_cut(name, 16)) for name in names)
    yield f"  {'true':<{width}}  " + " ".join(f"{cell:>10}" for cell in cells)
    for name, row in zip(names, metrics.confusion, strict=True):
        counts = " ".join(f"{count:>10,}" for count in row[: len(columns)])
        yield f"  {_cut(name, 16):<{width}}  {counts}"


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
        f"{name:>6}  {_cut(chosen, 14):<14}  {bar(best, LINE_BAR)}  "
        f"{percent(best):>{LONGEST}}  {shown}{question}\n"
    )


def _cut(name: str, width: int) -> str:
    shown = label_text(name)
    return shown if len(shown) <= width else shown[: width - 1] + "…"
