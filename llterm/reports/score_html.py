"""A text as a model read it, as one HTML page: heat, and alternatives under the pointer."""

from __future__ import annotations

from llterm.core.display_text import visible
from llterm.core.heat_scale import MEASURES, told
from llterm.core.scored_text import TokenReading
from llterm.jobs.score import ScoreResult
from llterm.number_format import of_logprob
from llterm.reports.html_page import STEPS, colors, escaped, page
from llterm.reports.score_text import TokenGroup, score_summary, token_groups

_STYLE = "nav { margin-bottom: 2rem; }"
_SCRIPT = """\
const spans = document.querySelectorAll("main span");
function paint(measure) {
  spans.forEach((span, n) => {
    const [back, ink] = data.colors[data.heat[measure][n]];
    span.style.background = back; span.style.color = ink;
  });
  document.querySelectorAll("button").forEach(one =>
    one.setAttribute("aria-pressed", one.dataset.measure === measure));
}
spans.forEach((span, n) => {
  span.tabIndex = 0;
  span.onmouseenter = span.onfocus = () => { tip.textContent = data.tips[n]; };
});
document.querySelectorAll("button").forEach(one => one.onclick = () => paint(one.dataset.measure));
paint("surprisal");"""


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
    buttons = " ".join(f'<button data-measure="{name}">{name}</button>' for name in MEASURES)
    text = "".join(f"<span>{escaped(group.text)}</span>" for group in groups)
    return page(
        score_summary(result).partition(";")[0],
        score_summary(result),
        f'<nav>{buttons} <span class="ramp"></span> expected → surprising</nav>\n'
        f"<main>{text}</main>",
        data,
        _SCRIPT,
        _STYLE,
    )


def _tip(group: TokenGroup) -> str:
    return "\n".join(_figures(reading) for reading in group.readings)


def _figures(reading: TokenReading) -> str:
    figures = " · ".join(told(reading, measure) for measure in MEASURES)
    rather = "   ".join(f"{visible(c.token.data)} {of_logprob(c.logprob)}" for c in reading.top)
    return f"{visible(reading.token.data)}   {figures}\n{rather}"
