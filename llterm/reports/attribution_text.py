"""What led to a token, as a table and in words."""

from __future__ import annotations

from llterm.core.attribution_methods import METHODS, SIGNED
from llterm.core.display_text import visible
from llterm.jobs.attribute import AttributeResult
from llterm.number_format import count_of, of_logprob
from llterm.ramps import glyph, signed_glyph


def attribution_table(result: AttributeResult) -> str:
    """A line a token: index, value, a glyph of its size, the token."""
    attribution = result.attribution
    draw = signed_glyph if attribution.how.method in SIGNED else glyph
    lines = []
    for place, hot in enumerate(attribution.heat.tolist()):
        index, token = result.contributor(place)
        lines.append(f"{index:6} {attribution.told(place):>12} {draw(hot)}  {visible(token.data)}")
    return "\n".join([f"{'index':>6} {'value':>12}    token", *lines])


def attribution_summary(result: AttributeResult) -> str:
    """What was asked, and what to know of the answer."""
    attribution, how = result.attribution, result.attribution.how
    token = visible(result.token.data)
    p = "" if attribution.logprob is None else f" ({of_logprob(attribution.logprob)})"
    spent = f", {attribution.cost.tokens:,} tokens evaluated" if attribution.cost.tokens else ""
    head = f"{result.model}: what led to {token}{p}, token {result.index:,}: {how.title}; "
    lines = [
        f"{head}{result.seconds:.2f} s{spent}",
        *(f"{note[0].upper()}{note[1:]}." for note in attribution.notes),
    ]
    if attribution.elsewhere is not None and METHODS[how.method] == "attention":
        lines.append(f"{attribution.elsewhere:.1%} goes to what stands before these tokens.")
    if attribution.gap is not None:
        steps = count_of(attribution.steps, "step")
        lines.append(f"{steps}; the sum of the values is {attribution.gap:.1%} off.")
    if result.skipped:
        lines.append(f"The first {result.skipped:,} tokens are out of the model's sight.")
    return "\n".join(lines)
