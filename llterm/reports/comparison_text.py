"""A comparison as a report in text: figures, histogram, first divergence, the worst places."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice

from llterm.core.comparison.conditions import Condition
from llterm.core.comparison.quant_statistics import FEWEST_PLACES, Estimate, histogram
from llterm.core.comparison.reference_comparison import ComparedModel, WorstPlace
from llterm.core.display_text import display_text, label_text, visible
from llterm.jobs.compare import CompareResult
from llterm.number_format import count_of, percent

BAR = 30
BEFORE = 48
"""Tokens of context shown before a place."""
DIVERGENCES = 5
TOO_FEW = f"fewer than {FEWEST_PLACES} places: no percentiles"

LABELS: Mapping[str, str] = {
    "ppl": "Mean PPL(Q)",
    "ppl-base": "Mean PPL(base)",
    "correlation": "Cor(ln(PPL(Q)), ln(PPL(base)))",
    "ln-ppl-ratio": "Mean ln(PPL(Q)/PPL(base))",
    "ppl-ratio": "Mean PPL(Q)/PPL(base)",
    "ppl-difference": "Mean PPL(Q)-PPL(base)",
    "kld": "Mean KLD",
    "dp": "Mean Δp",
    "rms-dp": "RMS Δp",
    "same-top": "Same top p",
}
"""llama-perplexity's names."""


def figure_label(name: str, *, by_id: bool = True) -> str:
    """A figure's name in words. Not `by_id`: it is of bytes, and a perplexity is one a byte."""
    if name in LABELS:
        return LABELS[name] + (" per byte" if "ppl" in name and not by_id else "")
    kind, _, which = name.partition("-")
    word = {"max": "Maximum", "min": "Minimum", "median": "Median"}.get(which, f"{which}%")
    return f"{word} {'KLD' if kind == 'kld' else 'Δp'}"


def figure_text(name: str, figure: Estimate) -> str:
    """A figure with its error, in percent where it is a share or a difference of probabilities."""
    share = name in ("correlation", "same-top") or name.removeprefix("rms-").startswith("dp")
    if share:
        text = f"{figure.value:.3%}"
        return text if figure.error is None else f"{text} ± {figure.error:.3%}"
    text = f"{figure.value:.6f}"
    return text if figure.error is None else f"{text} ± {figure.error:.6f}"


def comparison_text(result: CompareResult) -> str:
    """The whole result."""
    parts = [_overview(result)]
    for model in result.comparison.candidates:
        parts.append(_candidate(result, model))
    return "\n\n".join(parts)


def comparison_summary(result: CompareResult) -> str:
    """What was done, in a line or two."""
    comparison = result.comparison
    noun = "tokens" if result.plan.by_id else "bytes"
    how = (
        f"windows of {result.plan.window:,} side by side, second halves"
        if result.plan.method == "halves"
        else f"windows of {result.plan.window:,}, {result.plan.stride:,} apart"
    )
    lines = [
        f"{comparison.done:,} of {len(result.plan.ids):,} {noun} compared ({how}) "
        f"in {result.seconds:.2f} s"
    ]
    if not result.plan.by_id:
        lines.append(
            "The vocabularies differ: the models are compared byte by byte, "
            "and perplexities are per byte."
        )
    if result.plan.listing:
        lines.append(
            f"{_listing(result)}: what needs whole rows (KL divergence, the worst places) cannot be"
            " told. The other figures are exact."
        )
    return "\n".join(lines)


def broken_conditions(result: CompareResult) -> list[tuple[str, str]]:
    """The conditions that do not hold: model, and why."""
    return [
        (model.name, _why(result, model, condition, figures[condition.name]))
        for model in result.comparison.candidates
        for figures in [result.comparison.figures(model)]
        for condition in result.conditions
        if not condition.holds(figures)
    ]


def _why(
    result: CompareResult, model: ComparedModel, condition: Condition, figure: Estimate
) -> str:
    if figure.known:
        return f"{condition} is not so, it is {figure.value:.6g}"
    if condition.name.startswith("kld") and not model.whole:
        return f"{condition.name} cannot be told: {_listing(result)}"
    if condition.name == "same-top":
        left = count_of(model.statistics.untold, "place")
        return f"same-top cannot be told: a server left the first choice out at {left}"
    return f"{condition.name} cannot be told of {count_of(result.comparison.done, 'place')}"


def _listing(result: CompareResult) -> str:
    """Who does not tell whole rows."""
    many = len(result.plan.listing) > 1
    return " and ".join(result.plan.listing) + (
        " list only their best candidates" if many else " lists only its best candidates"
    )


def text_before(result: CompareResult, number: int, before: int = BEFORE) -> bytes:
    """The text before a compared place."""
    place = int(result.comparison.places[number])
    ids = result.plan.ids[max(place - before, 0) : place]
    tokens = (result.plan.vocabulary.token(id) for id in ids)
    return b"".join(token.data for token in tokens if not token.special)


def _overview(result: CompareResult) -> str:
    """One line a candidate."""
    comparison = result.comparison
    width = max(len(model.name) for model in comparison.candidates)
    noun = "tokens" if result.plan.by_id else "bytes"
    lines = [
        f"reference: {label_text(comparison.reference)}",
        f"text: {label_text(result.source)}, "
        f"{len(result.plan.ids):,} {noun}, {count_of(comparison.done, 'place')} compared",
        "",
        f"{'':{width}}  {'KL divergence':>20}  {'99% KLD':>9}  {'RMS Δp':>8}  "
        f"{'same top':>8}  {'PPL ratio':>9}" + ("" if result.plan.by_id else " (per byte)"),
    ]
    for model in comparison.candidates:
        f = comparison.figures(model)
        kld = f"{f['kld'].value:.6f} ± {f['kld'].error or 0:.6f}" if model.whole else "–"
        most = f"{f['kld-99'].value:9.5f}" if f["kld-99"].known else f"{'–':>9}"
        same = f"{f['same-top'].value:.2%}" if f["same-top"].known else "–"
        lines.append(
            f"{model.name:{width}}  {kld:>20}  {most}  "
            f"{f['rms-dp'].value:8.3%}  {same:>8}  {f['ppl-ratio'].value:9.5f}"
        )
    return "\n".join(lines)


def _candidate(result: CompareResult, model: ComparedModel) -> str:
    comparison = result.comparison
    lines = [f"── {model.name} ──", ""]
    for name, figure in comparison.figures(model).items():
        if figure.known:
            lines.append(
                f"{figure_label(name, by_id=result.plan.by_id):<31} {figure_text(name, figure)}"
            )
    if comparison.done < FEWEST_PLACES:
        lines.append(f"({TOO_FEW})")
    sure = model.statistics.determinism
    if not math.isnan(sure):
        lines.append(f"{'Determinism':<31} {sure:.3f} (creativity {1 - sure:.3f})")
    lines.append("")
    if model.whole:
        lines += ["KL divergence, how many places", *_bars(result, model), ""]
    lines += _divergences(result, model)
    if model.worst:
        lines += ["", f"Greatest divergence, {count_of(len(model.worst), 'place')}"]
    for worst in model.worst:
        lines += ["", *_place(result, model, worst)]
    return "\n".join(lines)


def _bars(result: CompareResult, model: ComparedModel) -> list[str]:
    values = model.track.kld[: result.comparison.done].astype(float)
    bins = histogram(values, 14)
    most = max(count for *_, count in bins)
    lines = []
    for n, (low, high, count) in enumerate(bins):
        if not count:
            continue
        edge = f"< {high:.0e}" if not n else f"≥ {low:.0e}"
        lines.append(f"  {edge:>8}  {'█' * math.ceil(BAR * count / most):<{BAR}} {count:,}")
    return lines


def _divergences(result: CompareResult, model: ComparedModel) -> list[str]:
    comparison = result.comparison
    untold = model.statistics.untold
    count = comparison.done - model.statistics.same - untold
    lines = []
    if untold:
        lines.append(f"{count_of(untold, 'place')} where the server left the first choice out.")
    if not count:
        where = "everywhere else" if untold else "everywhere"
        return [*lines, f"It says the same as the reference {where}."]
    lines.append(
        f"{count_of(count, 'place')} where it would say something else; the first of them:"
    )
    names = result.plan.vocabulary
    for number in islice(comparison.divergences(model), DIVERGENCES):
        base, own = comparison.base, model.track
        before = visible(text_before(result, number, 8))
        choice, other = (
            f"{visible(names.token(int(track.choice[number])).data)} "
            f"{percent(float(track.choice_p[number]))}"
            for track in (base, own)
        )
        lines.append(f"  {int(comparison.places[number]):6}  …{before} → {choice}, here {other}")
    return lines


def _place(result: CompareResult, model: ComparedModel, worst: WorstPlace) -> list[str]:
    comparison, names = result.comparison, result.plan.vocabulary
    token = names.token(int(comparison.tokens[worst.number]))
    before = display_text(text_before(result, worst.number)).replace("\n", "⏎")

    def tops(top: tuple[tuple[int, float], ...]) -> str:
        return "   ".join(f"{visible(names.token(id).data)} {percent(p)}" for id, p in top)

    p = math.exp(comparison.base.logprob[worst.number])
    q = math.exp(model.track.logprob[worst.number])
    return [
        f"  {worst.kld:.4f} nats at {int(comparison.places[worst.number])}",
        f"  …{before}[{visible(token.data)}] {percent(p)} → {percent(q)}",
        f"    reference  {tops(worst.base_top)}",
        f"    {'here':<9}  {tops(worst.top)}",
    ]
