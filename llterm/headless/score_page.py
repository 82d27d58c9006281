"""A report as one HTML page that needs nothing else: heat, and alternatives under the pointer."""

from __future__ import annotations

import html
import json
import math

from llterm.core.display import token_label
from llterm.core.heat import MEASURES, told, value
from llterm.core.reading import Reading
from llterm.headless.score import Report
from llterm.headless.score_formats import Piece, pieces, summary
from llterm.ramps import paint

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 2rem auto; max-width: 46rem; padding: 0 1rem; background: #14161b; color: #d8d8d8;
  font: 1.05rem/1.9 Georgia, serif; }}
header, nav, #tip {{ font: 0.9rem/1.5 ui-monospace, monospace; }}
nav {{ margin: 1rem 0 2rem; }}
button {{ font: inherit; color: inherit; background: #23262e; border: 1px solid #3a3f4a;
  padding: 0.1rem 0.6rem; cursor: pointer; }}
button[aria-pressed=true] {{ background: #d8d8d8; color: #14161b; }}
.ramp {{ display: inline-block; width: 12rem; height: 0.8rem; vertical-align: middle;
  background: linear-gradient(to right, {ramp}); }}
main {{ white-space: pre-wrap; overflow-wrap: break-word; }}
main span {{ border-radius: 2px; }}
main span:hover, main span:focus {{ outline: 2px solid #fff; }}
#tip {{ position: fixed; left: 0; right: 0; bottom: 0; background: #23262e; padding: 0.6rem 1rem;
  border-top: 1px solid #3a3f4a; white-space: pre; overflow-x: auto; min-height: 1.5rem; }}
footer {{ height: 12rem; }}
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
_STEPS = 100


def as_page(report: Report) -> str:
    """The page. Text of the model and the person is in it as text, never as markup."""
    shown = list(pieces(report.readings))
    data = {
        "colors": [
            [_css(color) for color in paint(n / _STEPS, "truecolor")] for n in range(_STEPS + 1)
        ],
        "heat": {
            measure: [round(piece.heat(measure) * _STEPS) for piece in shown]
            for measure in MEASURES
        },
        "tips": [_tip(piece) for piece in shown],
    }
    return _PAGE.format(
        title=html.escape(f"{report.model}: {report.summary.bits_per_byte:.3f} bits per byte"),
        summary=html.escape(summary(report)).replace("\n", "<br>"),
        ramp=", ".join(_css(paint(n / 8, "truecolor").back) for n in range(9)),
        buttons=" ".join(f'<button data-measure="{one}">{one}</button>' for one in MEASURES),
        text="".join(f"<span>{_marked(piece.text)}</span>" for piece in shown),
        # A script element ends at the first "</": JSON may say that otherwise.
        data=json.dumps(data).replace("<", "\\u003c"),
    )


def _marked(text: str) -> str:
    return html.escape(text).replace("\n", "⏎\n")


def _tip(piece: Piece) -> str:
    return "\n".join(_told(one) for one in piece.readings)


def _told(one: Reading) -> str:
    figures = " · ".join(told(value(one, measure), measure) for measure in MEASURES)
    rather = "   ".join(f"{token_label(c.token.data)} {math.exp(c.logprob):.1%}" for c in one.top)
    return f"{token_label(one.token.data)}   {figures}\n{rather}"


def _css(color: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)
