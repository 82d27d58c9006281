"""A report as one HTML page that needs nothing else: heat, and alternatives under the pointer."""

from __future__ import annotations

import html

from llterm.core.display import visible
from llterm.core.heat_scale import MEASURES, told
from llterm.core.scored_text import Reading
from llterm.headless.pages import STEPS, STYLE, colors, escaped, script_data
from llterm.headless.score import Report
from llterm.headless.score_formats import Piece, pieces, summary
from llterm.number_format import of_logprob

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}
nav {{ margin-bottom: 2rem; }}
</style>
<header>{summary}</header>
<nav>{buttons} <span class="ramp"></span> expected → surprising</nav>
<main>{text}</main>
<footer></footer>
<div id="tip" aria-live="polite">Point at a token.</div>
<script type="application/json" id="data">{data}</script>
<script>
const data = JSON.parse(document.getElementById("data").textContent);
const tip = document.getElementById("tip");
const spans = document.querySelectorAll("main span");
function paint(measure) {{
  spans.forEach((span, n) => {{
    const [back, ink] = data.colors[data.heat[measure][n]];
    span.style.background = back; span.style.color = ink;
  }});
  document.querySelectorAll("button").forEach(one =>
    one.setAttribute("aria-pressed", one.dataset.measure === measure));
}}
spans.forEach((span, n) => {{
  span.tabIndex = 0;
  span.onmouseenter = span.onfocus = () => {{ tip.textContent = data.tips[n]; }};
}});
document.querySelectorAll("button").forEach(one => one.onclick = () => paint(one.dataset.measure));
paint("surprisal");
</script>
</html>
"""


def as_page(report: Report) -> str:
    """The page. Text of the model and the person is in it as text, never as markup."""
    shown = list(pieces(report.readings))
    data = {
        "colors": colors(),
        "heat": {
            measure: [round(piece.heat(measure) * STEPS) for piece in shown] for measure in MEASURES
        },
        "tips": [_tip(piece) for piece in shown],
    }
    return _PAGE.format(
        style=STYLE,
        title=html.escape(summary(report).partition(";")[0]),
        summary=html.escape(summary(report)).replace("\n", "<br>"),
        buttons=" ".join(f'<button data-measure="{one}">{one}</button>' for one in MEASURES),
        text="".join(f"<span>{escaped(piece.text)}</span>" for piece in shown),
        data=script_data(data),
    )


def _tip(piece: Piece) -> str:
    return "\n".join(_told(one) for one in piece.readings)


def _told(one: Reading) -> str:
    figures = " · ".join(told(one, measure) for measure in MEASURES)
    rather = "   ".join(f"{visible(c.token.data)} {of_logprob(c.logprob)}" for c in one.top)
    return f"{visible(one.token.data)}   {figures}\n{rather}"
