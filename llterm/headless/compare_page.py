"""A comparison as one HTML page that needs nothing else: figures, plots, the text in its heat."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from llterm.core.comparison.divergence import UNTOLD
from llterm.core.comparison.quant_statistics import FEWEST_PLACES, Figure, histogram
from llterm.core.comparison.reference_comparison import ComparedModel
from llterm.core.display import display_text, visible
from llterm.headless.compare import Compared
from llterm.headless.compare_formats import TOO_FEW, context, label, summary, told
from llterm.headless.pages import STEPS, STYLE, colors, escaped, script_data
from llterm.headless.plots import Axis, Line, bars, plot
from llterm.number_format import of_logprob, percent

MOST = 20_000
"""Places whose text is on the page; the figures are of all."""
STRETCHES = 120
"""Points of a curve by position."""
COLDEST, HOTTEST = 1e-4, 1.0
"""KL divergences in nats at the ends of the heat; between them it is logarithmic."""

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}
table, figure, .worst {{ font: 0.9rem/1.5 ui-monospace, monospace; }}
h2 {{ font-size: 1.1rem; margin-top: 2.5rem; }}
table {{ border-collapse: collapse; display: block; overflow-x: auto; }}
td, th {{ padding: 0.1rem 0.8rem; text-align: right; white-space: nowrap; }}
td:first-child, th:first-child {{ text-align: left; }}
tr:hover {{ background: #23262e; }}
figure {{ margin: 1rem 0; }}
svg text {{ fill: #9aa0ab; font-size: 11px; }}
svg path {{ stroke: #2c313b; }}
main span.other {{ text-decoration: underline; text-underline-offset: 3px; }}
.worst {{ margin: 1rem 0; border-left: 3px solid #3a3f4a; padding-left: 0.8rem;
  overflow-wrap: break-word; }}
.worst b {{ background: #d8d8d8; color: #14161b; }}
#tip {{ min-height: 3rem; }}
</style>
<header>{summary}</header>
<h2>Figures</h2>
{table}
<h2>Plots</h2>
{plots}
<h2>The text</h2>
<nav>{buttons} <button id="next">next divergence (n)</button><br>
{ramp}underlined: another first choice</nav>
<main>{text}</main>
{worst}
<footer></footer>
<div id="tip" aria-live="polite">Point at a token.</div>
<script type="application/json" id="data">{data}</script>
<script>
const data = JSON.parse(document.getElementById("data").textContent);
const tip = document.getElementById("tip");
const spans = [...document.querySelectorAll("main span")];
let model = 0, at = -1;
function paint(chosen) {{
  model = chosen;
  spans.forEach((span, n) => {{
    const [back, ink] = data.colors[data.heat[chosen][n]] ?? ["", ""];
    span.style.background = back; span.style.color = ink;
    span.classList.toggle("other", data.other[chosen][n] === 1);
  }});
  document.querySelectorAll("button[data-model]").forEach(one =>
    one.setAttribute("aria-pressed", Number(one.dataset.model) === chosen));
}}
function show(n) {{ tip.textContent = data.base[n] + "\\n" + data.tips[model][n]; }}
function next() {{
  const found = data.other[model].indexOf(1, at + 1);
  at = found < 0 ? data.other[model].indexOf(1) : found;
  if (at >= 0) {{ spans[at].scrollIntoView({{block: "center"}}); spans[at].focus(); }}
}}
spans.forEach((span, n) => {{
  span.tabIndex = 0;
  span.onmouseenter = () => show(n);
  span.onfocus = () => {{ at = n; show(n); }};
}});
document.querySelectorAll("button[data-model]").forEach(one =>
  one.onclick = () => paint(Number(one.dataset.model)));
document.getElementById("next").onclick = next;
document.addEventListener("keydown", event => {{ if (event.key === "n") next(); }});
paint(0);
</script>
</html>
"""


def as_page(report: Compared) -> Iterator[str]:
    """The page, in parts. Text of models and persons is in it as text, never as markup."""
    found = report.found
    groups = list(_groups(report))
    names = ", ".join(one.name for one in found.candidates)
    data = {
        "colors": colors(),
        "heat": [[_heat(one, group) for group in groups] for one in found.candidates],
        "other": [
            [int(_differs(report, one, group)) for group in groups] for one in found.candidates
        ],
        "base": [_tip(report, None, group) for group in groups],
        "tips": [[_tip(report, one, group) for group in groups] for one in found.candidates],
    }
    told_of = summary(report)
    if found.done > MOST:
        told_of += f"\nThe text below ends after {MOST:,} tokens; the figures are of all."
    yield _PAGE.format(
        style=STYLE,
        title=html.escape(f"{names} against {found.reference}"),
        summary=html.escape(f"{names} against {found.reference}\n{told_of}").replace("\n", "<br>"),
        table=_table(report),
        plots="".join(_plots(report)),
        ramp=f'<span class="ramp"></span> the same → {HOTTEST:g} nat and more; '
        if any(one.whole for one in found.candidates)
        else "",
        buttons=" ".join(
            f'<button data-model="{n}">{html.escape(one.name)}</button>'
            for n, one in enumerate(found.candidates)
        ),
        text="".join(f"<span>{_shown(report, group)}</span>" for group in groups),
        worst="".join(_worst(report)),
        data=script_data(data),
    )


def _table(report: Compared) -> str:
    found = report.found
    columns: list[dict[str, Figure]] = [found.figures(one) for one in found.candidates]
    head = "".join(f"<th>{html.escape(one.name)}</th>" for one in found.candidates)
    rows = "".join(
        f"<tr><td>{html.escape(label(name, by_id=report.by_id))}</td>"
        + "".join(
            f"<td>{html.escape(told(name, column[name])) if column[name].known else '–'}</td>"
            for column in columns
        )
        + "</tr>"
        for name in columns[0]
        if any(column[name].known for column in columns)
    )
    return f"<table><tr><th></th>{head}</tr>{rows}</table>"


def _plots(report: Compared) -> Iterator[str]:
    found = report.found
    done = found.done
    whole = [one for one in found.candidates if one.whole]
    if whole:
        yield plot(
            [_running(one) for one in whole],
            Axis("tokens compared"), Axis("nats", log=True),
            "Mean KL divergence so far, ± one standard error",
        )  # fmt: skip
        yield plot(
            [Line(one.name, _by_position(report, one)) for one in whole],
            Axis("place in the text"), Axis("nats", log=True), "KL divergence by position",
        )  # fmt: skip
    if done >= FEWEST_PLACES:
        yield _percentiles(report)
    else:
        yield f"<p>({TOO_FEW})</p>"
    for index, one in enumerate(whole):
        bins = histogram(one.track.kld[:done].astype(float))
        named = [(f"{low:.0e}", count) for low, _, count in bins]
        yield bars(named, index, f"{one.name}: how many places have which KL divergence (nats)")


def _percentiles(report: Compared) -> str:
    found, shares = report.found, np.linspace(0.1, 99.9, 200)
    return plot(
        [
            Line(one.name, list(zip(shares.tolist(), np.percentile(
                _dp(report, one), shares).tolist(), strict=True)))
            for one in found.candidates
        ],
        Axis("percentile"), Axis("Δp"),
        "Change of the text's own tokens' probability: symmetric is noise, more below is damage",
    )  # fmt: skip


def _running(one: ComparedModel) -> Line:
    marks = [(mark.tokens, mark.figures["kld"]) for mark in one.statistics.running]
    return Line(
        one.name,
        [(float(tokens), figure.value) for tokens, figure in marks],
        [figure.value - (figure.error or 0.0) for _, figure in marks],
        [figure.value + (figure.error or 0.0) for _, figure in marks],
    )


def _by_position(report: Compared, one: ComparedModel) -> list[tuple[float, float]]:
    done = report.found.done
    edges = np.unique(np.linspace(0, done, STRETCHES + 1).astype(int))
    return [
        (float(report.found.places[start]), float(one.track.kld[start:stop].mean()))
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]


def _dp(report: Compared, one: ComparedModel) -> Any:
    done = slice(0, report.found.done)
    return np.exp(one.track.logprob[done]) - np.exp(report.found.base.logprob[done])


def _groups(report: Compared) -> Iterator[list[int]]:
    """Numbers of the places on the page, those together that share a character."""
    found, names = report.found, report.vocabulary
    waiting: list[int] = []
    for number in range(min(found.done, MOST)):
        waiting.append(number)
        data = b"".join(names.token(int(found.tokens[n])).data for n in waiting)
        try:
            data.decode()
        except UnicodeDecodeError as error:
            if error.reason == "unexpected end of data" and len(waiting) < 8:
                continue
        yield waiting
        waiting = []
    if waiting:
        yield waiting


def _shown(report: Compared, group: Sequence[int]) -> str:
    names, tokens = report.vocabulary, report.found.tokens
    data = b"".join(names.token(int(tokens[n])).data for n in group)
    return escaped(display_text(data))


def _heat(one: ComparedModel, group: Sequence[int]) -> int | None:
    """A step of the ramp; None where the KL divergence is not known."""
    hottest = max(float(one.track.kld[n]) for n in group)
    if math.isnan(hottest):
        return None
    share = math.log(max(hottest, COLDEST) / COLDEST) / math.log(HOTTEST / COLDEST)
    return round(min(share, 1.0) * STEPS)


def _differs(report: Compared, one: ComparedModel, group: Sequence[int]) -> bool:
    own, base = one.track.choice, report.found.base.choice
    return any(own[n] != base[n] and UNTOLD not in (own[n], base[n]) for n in group)


def _tip(report: Compared, one: ComparedModel | None, group: Sequence[int]) -> str:
    """What a model says of the first token of a group."""
    n = group[0]
    names, found = report.vocabulary, report.found
    track = found.base if one is None else one.track
    choice = int(track.choice[n])
    shown = visible(names.token(choice).data) if choice != UNTOLD else ""
    name = found.reference if one is None else one.name
    told_of = (
        f"{name}: {visible(names.token(int(found.tokens[n])).data)} "
        f"{of_logprob(float(track.logprob[n]))}"
        + (f", rank {int(track.rank[n])}; " if track.rank[n] else "; ")
        + (
            f"first choice {shown} {percent(float(track.choice_p[n]))}"
            if shown
            else "no choice told"
        )
    )
    known = one is not None and not math.isnan(track.kld[n])
    return f"{told_of}; {float(track.kld[n]):.4f} nats" if known else told_of


def _worst(report: Compared) -> Iterator[str]:
    names, found = report.vocabulary, report.found
    known = [one for one in found.candidates if one.worst]
    if known:
        yield "<h2>WorstPlace places</h2>"
    for one in known:
        yield f"<h3>{html.escape(one.name)}</h3>"
        for worst in one.worst:
            token = names.token(int(found.tokens[worst.number]))
            before = html.escape(display_text(context(report, worst.number)))
            tops = "<br>".join(
                f"{html.escape(who)}: "
                + " · ".join(f"{html.escape(visible(names.token(id).data))} {percent(p)}"
                             for id, p in top)
                for who, top in ((found.reference, worst.base_top), (one.name, worst.top))
            )  # fmt: skip
            yield (
                f'<div class="worst">{worst.kld:.4f} nats at {int(found.places[worst.number])}<br>'
                f"…{before}<b>{html.escape(visible(token.data))}</b><br>{tops}</div>"
            )
