"""A text as a model read it, as one HTML page: heat, and alternatives under the pointer."""

from __future__ import annotations

import html

from llterm.core.display import visible
from llterm.core.heat_scale import MEASURES, told
from llterm.core.scored_text import TokenReading
from llterm.jobs.score import ScoreResult
from llterm.number_format import of_logprob
from llterm.reports.html_page import STEPS, STYLE, colors, escaped, script_data
from llterm.reports.score_text import TokenGroup, score_summary, token_groups

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


def score_page(result: ScoreResult) -> str:
    """The page. Text of the model and the person is in it as text, never as markup."""
    groups = list(token_groups(result.readings))
    data = {
        "colors": colors(),
        "heat": {
            measure: [round(group.heat(measure) * STEPS) for group in groups]
            for measure in MEASURES
        },
        "tips": [_tip(group) for group in groups],
    }
    return _PAGE.format(
        style=STYLE,
        title=html.escape(score_summary(result).partition(";")[0]),
        summary=html.escape(score_summary(result)).replace("\n", "<br>"),
        buttons=" ".join(f'<button data-measure="{name}">{name}</button>' for name in MEASURES),
        text="".join(f"<span>{escaped(group.text)}</span>" for group in groups),
        data=script_data(data),
    )


def _tip(group: TokenGroup) -> str:
    return "\n".join(_figures(reading) for reading in group.readings)


def _figures(reading: TokenReading) -> str:
    figures = " · ".join(told(reading, measure) for measure in MEASURES)
    rather = "   ".join(f"{visible(c.token.data)} {of_logprob(c.logprob)}" for c in reading.top)
    return f"{visible(reading.token.data)}   {figures}\n{rather}"
