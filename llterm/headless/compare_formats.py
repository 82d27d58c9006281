"""A comparison as a report in text: figures, histogram, first divergence, the worst places."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice

from llterm.core.comparison.conditions import Condition
from llterm.core.comparison.quant_statistics import FEWEST_PLACES, Figure, histogram
from llterm.core.comparison.reference_comparison import ComparedModel, WorstPlace
from llterm.core.counts import count_of
from llterm.core.display import display_text, visible
from llterm.headless.compare import Compared
from llterm.number_format import percent

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


def label(name: str, *, by_id: bool = True) -> str:
    """A figure's name in words. Not `by_id`: it is of bytes, and a perplexity is one a byte."""
    if name in LABELS:
        return LABELS[name] + (" per byte" if "ppl" in name and not by_id else "")
    kind, _, which = name.partition("-")
    word = {"max": "Maximum", "min": "Minimum", "median": "Median"}.get(which, f"{which}%")
    return f"{word} {'KLD' if kind == 'kld' else 'Δp'}"


def told(name: str, figure: Figure) -> str:
    """A figure with its error, in percent where it is a share or a difference of probabilities."""
    share = name in ("correlation", "same-top") or name.removeprefix("rms-").startswith("dp")
    if share:
        text = f"{figure.value:.3%}"
        return text if figure.error is None else f"{text} ± {figure.error:.3%}"
    text = f"{figure.value:.6f}"
    return text if figure.error is None else f"{text} ± {figure.error:.6f}"


def as_text(report: Compared) -> str:
    """The whole report."""
    parts = [_overview(report)]
    for candidate in report.found.candidates:
        parts.append(_candidate(report, candidate))
    return "\n\n".join(parts)


def summary(report: Compared) -> str:
    """What was done, in a line or two."""
    found = report.found
    noun = "tokens" if report.by_id else "bytes"
    how = (
        f"windows of {report.window:,} side by side, second halves"
        if report.method == "halves"
        else f"windows of {report.window:,}, {report.stride:,} apart"
    )
    lines = [
        f"{found.done:,} of {len(report.ids):,} {noun} compared ({how}) in {report.seconds:.2f} s"
    ]
    if not report.by_id:
        lines.append(
            "The vocabularies differ: the models are compared byte by byte, "
            "and perplexities are per byte."
        )
    if report.listing:
        lines.append(
            f"{_listing(report)}: what needs whole rows (KL divergence, the worst places) cannot be"
            " told. The other figures are exact."
        )
    return "\n".join(lines)


def failed(report: Compared) -> list[tuple[str, str]]:
    """The conditions that do not hold: model, and why."""
    return [
        (one.name, _why(report, one, condition, figures[condition.name]))
        for one in report.found.candidates
        for figures in [report.found.figures(one)]
        for condition in report.conditions
        if not condition.holds(figures)
    ]


def _why(report: Compared, one: ComparedModel, condition: Condition, figure: Figure) -> str:
    if figure.known:
        return f"{condition} is not so, it is {figure.value:.6g}"
    if condition.name.startswith("kld") and not one.whole:
        return f"{condition.name} cannot be told: {_listing(report)}"
    if condition.name == "same-top":
        left = count_of(one.statistics.untold, "place")
        return f"same-top cannot be told: a server left the first choice out at {left}"
    return f"{condition.name} cannot be told of {count_of(report.found.done, 'place')}"


def _listing(report: Compared) -> str:
    """Who does not tell whole rows."""
    many = len(report.listing) > 1
    return " and ".join(report.listing) + (
        " list only their best candidates" if many else " lists only its best candidates"
    )


def context(report: Compared, number: int, before: int = BEFORE) -> bytes:
    """The text before a compared place."""
    place = int(report.found.places[number])
    ids = report.ids[max(place - before, 0) : place]
    tokens = (report.vocabulary.token(id) for id in ids)
    return b"".join(token.data for token in tokens if not token.special)


def _overview(report: Compared) -> str:
    """One line a candidate."""
    found = report.found
    width = max(len(one.name) for one in found.candidates)
    noun = "tokens" if report.by_id else "bytes"
    lines = [
        f"reference: {visible(found.reference.encode())}",
        f"text: {visible(report.source.encode('utf-8', 'surrogateescape'))}, "
        f"{len(report.ids):,} {noun}, {count_of(found.done, 'place')} compared",
        "",
        f"{'':{width}}  {'KL divergence':>20}  {'99% KLD':>9}  {'RMS Δp':>8}  "
        f"{'same top':>8}  {'PPL ratio':>9}" + ("" if report.by_id else " (per byte)"),
    ]
    for one in found.candidates:
        f = found.figures(one)
        kld = f"{f['kld'].value:.6f} ± {f['kld'].error or 0:.6f}" if one.whole else "–"
        most = f"{f['kld-99'].value:9.5f}" if f["kld-99"].known else f"{'–':>9}"
        same = f"{f['same-top'].value:.2%}" if f["same-top"].known else "–"
        lines.append(
            f"{one.name:{width}}  {kld:>20}  {most}  "
            f"{f['rms-dp'].value:8.3%}  {same:>8}  {f['ppl-ratio'].value:9.5f}"
        )
    return "\n".join(lines)


def _candidate(report: Compared, one: ComparedModel) -> str:
    found = report.found
    lines = [f"── {one.name} ──", ""]
    for name, figure in found.figures(one).items():
        if figure.known:
            lines.append(f"{label(name, by_id=report.by_id):<31} {told(name, figure)}")
    if found.done < FEWEST_PLACES:
        lines.append(f"({TOO_FEW})")
    sure = one.statistics.determinism
    if not math.isnan(sure):
        lines.append(f"{'Determinism':<31} {sure:.3f} (creativity {1 - sure:.3f})")
    lines.append("")
    if one.whole:
        lines += ["KL divergence, how many places", *_bars(report, one), ""]
    lines += _divergences(report, one)
    if one.worst:
        lines += ["", f"Greatest divergence, {count_of(len(one.worst), 'place')}"]
    for worst in one.worst:
        lines += ["", *_place(report, one, worst)]
    return "\n".join(lines)


def _bars(report: Compared, one: ComparedModel) -> list[str]:
    values = one.track.kld[: report.found.done].astype(float)
    bins = histogram(values, 14)
    most = max(count for *_, count in bins)
    lines = []
    for n, (low, high, count) in enumerate(bins):
        if not count:
            continue
        edge = f"< {high:.0e}" if not n else f"≥ {low:.0e}"
        lines.append(f"  {edge:>8}  {'█' * math.ceil(BAR * count / most):<{BAR}} {count:,}")
    return lines


def _divergences(report: Compared, one: ComparedModel) -> list[str]:
    found = report.found
    untold = one.statistics.untold
    count = found.done - one.statistics.same - untold
    lines = []
    if untold:
        lines.append(f"{count_of(untold, 'place')} where the server left the first choice out.")
    if not count:
        where = "everywhere else" if untold else "everywhere"
        return [*lines, f"It says the same as the reference {where}."]
    lines.append(
        f"{count_of(count, 'place')} where it would say something else; the first of them:"
    )
    names = report.vocabulary
    for number in islice(found.divergences(one), DIVERGENCES):
        base, own = found.base, one.track
        before = visible(context(report, number, 8))
        choice, other = (
            f"{visible(names.token(int(track.choice[number])).data)} "
            f"{percent(float(track.choice_p[number]))}"
            for track in (base, own)
        )
        lines.append(f"  {int(found.places[number]):6}  …{before} → {choice}, here {other}")
    return lines


def _place(report: Compared, one: ComparedModel, worst: WorstPlace) -> list[str]:
    found, names = report.found, report.vocabulary
    token = names.token(int(found.tokens[worst.number]))
    before = display_text(context(report, worst.number)).replace("\n", "⏎")

    def tops(top: tuple[tuple[int, float], ...]) -> str:
        return "   ".join(f"{visible(names.token(id).data)} {percent(p)}" for id, p in top)

    p = math.exp(found.base.logprob[worst.number])
    q = math.exp(one.track.logprob[worst.number])
    return [
        f"  {worst.kld:.4f} nats at {int(found.places[worst.number])}",
        f"  …{before}[{visible(token.data)}] {percent(p)} → {percent(q)}",
        f"    reference  {tops(worst.base_top)}",
        f"    {'here':<9}  {tops(worst.top)}",
    ]
