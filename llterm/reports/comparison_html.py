"""A comparison as one HTML page that needs nothing else: figures, plots, the text in its heat."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from llterm.core.comparison.divergence import UNTOLD
from llterm.core.comparison.quant_statistics import FEWEST_PLACES, Estimate, histogram
from llterm.core.comparison.reference_comparison import ComparedModel
from llterm.core.display_text import display_text, visible
from llterm.jobs.compare import CompareResult
from llterm.number_format import of_logprob, percent
from llterm.reports.comparison_text import (
    TOO_FEW,
    comparison_summary,
    figure_label,
    figure_text,
    text_before,
)
from llterm.reports.html_page import STEPS, colors, escaped, page
from llterm.reports.plots import Axis, Curve, bars, plot
from llterm.reports.score_text import by_character

MOST = 20_000
"""Places whose text is on the page; the figures are of all."""
STRETCHES = 120
"""Points of a curve by position."""
COLDEST, HOTTEST = 1e-4, 1.0
"""KL divergences in nats at the ends of the heat; between them it is logarithmic."""

_STYLE = """\
table, figure, .worst { font: 0.9rem/1.5 ui-monospace, monospace; }
h2 { font-size: 1.1rem; margin-top: 2.5rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
td, th { padding: 0.1rem 0.8rem; text-align: right; white-space: nowrap; }
td:first-child, th:first-child { text-align: left; }
tr:hover { background: #23262e; }
figure { margin: 1rem 0; }
svg text { fill: #9aa0ab; font-size: 11px; }
svg path { stroke: #2c313b; }
main span.other { text-decoration: underline; text-underline-offset: 3px; }
.worst { margin: 1rem 0; border-left: 3px solid #3a3f4a; padding-left: 0.8rem;
  overflow-wrap: break-word; }
.worst b { background: #d8d8d8; color: #14161b; }
#tip { min-height: 3rem; }"""
_BODY = """\
<h2>Figures</h2>
{table}
<h2>Plots</h2>
{plots}
<h2>The text</h2>
<nav>{buttons} <button id="next">next divergence (n)</button><br>
{ramp}underlined: another first choice</nav>
<main>{text}</main>
{worst}"""
_SCRIPT = """\
const spans = [...document.querySelectorAll("main span")];
let model = 0, at = -1;
function paint(chosen) {
  model = chosen;
  spans.forEach((span, n) => {
    const [back, ink] = data.colors[data.heat[chosen][n]] ?? ["", ""];
    span.style.background = back; span.style.color = ink;
    span.classList.toggle("other", data.other[chosen][n] === 1);
  });
  document.querySelectorAll("button[data-model]").forEach(one =>
    one.setAttribute("aria-pressed", Number(one.dataset.model) === chosen));
}
function show(n) { tip.textContent = data.base[n] + "\\n" + data.tips[model][n]; }
function next() {
  const found = data.other[model].indexOf(1, at + 1);
  at = found < 0 ? data.other[model].indexOf(1) : found;
  if (at >= 0) { spans[at].scrollIntoView({block: "center"}); spans[at].focus(); }
}
spans.forEach((span, n) => {
  span.tabIndex = 0;
  span.onmouseenter = () => show(n);
  span.onfocus = () => { at = n; show(n); };
});
document.querySelectorAll("button[data-model]").forEach(one =>
  one.onclick = () => paint(Number(one.dataset.model)));
document.getElementById("next").onclick = next;
document.addEventListener("keydown", event => { if (event.key === "n") next(); });
paint(0);"""


def comparison_page(result: CompareResult) -> Iterator[str]:
    """The page, in parts. Text of models and persons is in it as text, never as markup."""
    comparison = result.comparison
    models = comparison.candidates
    groups = list(_groups(result))
    title = f"{', '.join(model.name for model in models)} against {comparison.reference}"
    data = {
        "colors": colors(),
        "heat": [[_heat(model, group) for group in groups] for model in models],
        "other": [[int(_differs(result, model, group)) for group in groups] for model in models],
        "base": [_tip(result, None, group) for group in groups],
        "tips": [[_tip(result, model, group) for group in groups] for model in models],
    }
    summary = f"{title}\n{comparison_summary(result)}"
    if comparison.done > MOST:
        summary += f"\nThe text below ends after {MOST:,} tokens; the figures are of all."
    body = _BODY.format(
        table=_table(result),
        plots="".join(_plots(result)),
        ramp=f'<span class="ramp"></span> the same → {HOTTEST:g} nat and more; '
        if any(model.whole for model in models)
        else "",
        buttons=" ".join(
            f'<button data-model="{n}">{html.escape(model.name)}</button>'
            for n, model in enumerate(models)
        ),
        text="".join(f"<span>{_shown(result, group)}</span>" for group in groups),
        worst="".join(_worst(result)),
    )
    yield page(title, summary, body, data, _SCRIPT, _STYLE)


def _table(result: CompareResult) -> str:
    models = result.comparison.candidates
    columns: list[dict[str, Estimate]] = [result.comparison.figures(model) for model in models]
    head = "".join(f"<th>{html.escape(model.name)}</th>" for model in models)
    rows = "".join(
        f"<tr><td>{html.escape(figure_label(name, by_id=result.plan.by_id))}</td>"
        + "".join(_cell(name, column[name]) for column in columns)
        + "</tr>"
        for name in columns[0]
        if any(column[name].known for column in columns)
    )
    return f"<table><tr><th></th>{head}</tr>{rows}</table>"


def _cell(name: str, figure: Estimate) -> str:
    return f"<td>{html.escape(figure_text(name, figure)) if figure.known else '–'}</td>"


def _plots(result: CompareResult) -> Iterator[str]:
    comparison = result.comparison
    done = comparison.done
    whole = [model for model in comparison.candidates if model.whole]
    if whole:
        yield plot(
            [_running(model) for model in whole],
            Axis("tokens compared"), Axis("nats", log=True),
            "Mean KL divergence so far, ± one standard error",
        )  # fmt: skip
        yield plot(
            [Curve(model.name, _by_position(result, model)) for model in whole],
            Axis("place in the text"), Axis("nats", log=True), "KL divergence by position",
        )  # fmt: skip
    if done >= FEWEST_PLACES:
        yield _percentiles(result)
    else:
        yield f"<p>({TOO_FEW})</p>"
    for index, model in enumerate(whole):
        bins = histogram(model.track.kld[:done].astype(float))
        named = [(f"{low:.0e}", count) for low, _, count in bins]
        yield bars(named, index, f"{model.name}: how many places have which KL divergence (nats)")


def _percentiles(result: CompareResult) -> str:
    comparison, shares = result.comparison, np.linspace(0.1, 99.9, 200)
    return plot(
        [
            Curve(model.name, list(zip(shares.tolist(), np.percentile(
                _dp(result, model), shares).tolist(), strict=True)))
            for model in comparison.candidates
        ],
        Axis("percentile"), Axis("Δp"),
        "Change of the text's own tokens' probability: symmetric is noise, more below is damage",
    )  # fmt: skip


def _running(model: ComparedModel) -> Curve:
    marks = [(mark.tokens, mark.figures["kld"]) for mark in model.statistics.running]
    return Curve(
        model.name,
        [(float(tokens), figure.value) for tokens, figure in marks],
        [figure.value - (figure.error or 0.0) for _, figure in marks],
        [figure.value + (figure.error or 0.0) for _, figure in marks],
    )


def _by_position(result: CompareResult, model: ComparedModel) -> list[tuple[float, float]]:
    done = result.comparison.done
    edges = np.unique(np.linspace(0, done, STRETCHES + 1).astype(int))
    return [
        (float(result.comparison.places[start]), float(model.track.kld[start:stop].mean()))
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]


def _dp(result: CompareResult, model: ComparedModel) -> Any:
    done = slice(0, result.comparison.done)
    return np.exp(model.track.logprob[done]) - np.exp(result.comparison.base.logprob[done])


def _groups(result: CompareResult) -> Iterator[list[int]]:
    """Numbers of the places on the page, those together that share a character."""
    names, tokens = result.plan.vocabulary, result.comparison.tokens
    places = range(min(result.comparison.done, MOST))
    return by_character(places, lambda number: names.token(int(tokens[number])).data)


def _shown(result: CompareResult, group: Sequence[int]) -> str:
    names, tokens = result.plan.vocabulary, result.comparison.tokens
    data = b"".join(names.token(int(tokens[n])).data for n in group)
    return escaped(display_text(data))


def _heat(model: ComparedModel, group: Sequence[int]) -> int | None:
    """A step of the ramp; None where the KL divergence is not known."""
    hottest = max(float(model.track.kld[n]) for n in group)
    if math.isnan(hottest):
        return None
    share = math.log(max(hottest, COLDEST) / COLDEST) / math.log(HOTTEST / COLDEST)
    return round(min(share, 1.0) * STEPS)


def _differs(result: CompareResult, model: ComparedModel, group: Sequence[int]) -> bool:
    own, base = model.track.choice, result.comparison.base.choice
    return any(own[n] != base[n] and UNTOLD not in (own[n], base[n]) for n in group)


def _tip(result: CompareResult, model: ComparedModel | None, group: Sequence[int]) -> str:
    """What a model says of the first token of a group."""
    n = group[0]
    names, comparison = result.plan.vocabulary, result.comparison
    track = comparison.base if model is None else model.track
    choice = int(track.choice[n])
    shown = visible(names.token(choice).data) if choice != UNTOLD else ""
    name = comparison.reference if model is None else model.name
    words = (
        f"{name}: {visible(names.token(int(comparison.tokens[n])).data)} "
        f"{of_logprob(float(track.logprob[n]))}"
        + (f", rank {int(track.rank[n])}; " if track.rank[n] else "; ")
        + (
            f"first choice {shown} {percent(float(track.choice_p[n]))}"
            if shown
            else "no choice told"
        )
    )
    known = model is not None and not math.isnan(track.kld[n])
    return f"{words}; {float(track.kld[n]):.4f} nats" if known else words


def _worst(result: CompareResult) -> Iterator[str]:
    names, comparison = result.plan.vocabulary, result.comparison
    known = [model for model in comparison.candidates if model.worst]
    if known:
        yield "<h2>Worst places</h2>"
    for model in known:
        yield f"<h3>{html.escape(model.name)}</h3>"
        for worst in model.worst:
            token = names.token(int(comparison.tokens[worst.number]))
            before = html.escape(display_text(text_before(result, worst.number)))
            tops = "<br>".join(
                f"{html.escape(who)}: "
                + " · ".join(f"{html.escape(visible(names.token(id).data))} {percent(p)}"
                             for id, p in top)
                for who, top in ((comparison.reference, worst.base_top), (model.name, worst.top))
            )  # fmt: skip
            yield (
                f'<div class="worst">{worst.kld:.4f} nats at '
                f"{int(comparison.places[worst.number])}<br>"
                f"…{before}<b>{html.escape(visible(token.data))}</b><br>{tops}</div>"
            )
