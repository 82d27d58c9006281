"""The texts of a batch as one page: every token in its heat, its candidates under the pointer."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from llterm.core.display_text import display_text, label_text, visible
from llterm.core.heat_scale import scale
from llterm.core.json_text import json_text
from llterm.jobs.batch_answers import AnsweredChoice, ChoiceToken, choices_of
from llterm.jobs.batch_duplicates import result_body
from llterm.number_format import bits, count_of, joint, of_logprob
from llterm.reports.html_page import STEPS, colors, escaped, page
from llterm.reports.score_text import by_character

MOST = 50_000
"""Tokens on a page, about: whole texts, the first ones."""
_STYLE = """\
h2 { font: 0.9rem/1.5 ui-monospace, monospace; margin: 2rem 0 0; white-space: normal; }
p { margin: 0; }"""
_SCRIPT = """\
document.querySelectorAll("main span").forEach((span, n) => {
  const [back, ink] = data.colors[data.heat[n]];
  span.style.background = back; span.style.color = ink; span.tabIndex = 0;
  span.onmouseenter = span.onfocus = () => { tip.textContent = data.tips[n]; };
});"""


@dataclass(slots=True)
class _Shown:
    """What is on the page so far."""

    markup: list[str] = field(default_factory=list)
    heat: list[int] = field(default_factory=list)
    tips: list[str] = field(default_factory=list)
    texts: int = 0
    left_out: int = 0
    """Texts after the last one that is shown."""
    untold: int = 0
    """Texts whose logprobs are not told."""


def token_page(results: Iterable[Mapping[str, Any]], model: str) -> str:
    """The page of these results. Text of the model and the rows is in it as text, never as
    markup."""
    shown = _Shown()
    for result in results:
        for choice in choices_of(result_body(result)):
            if len(shown.heat) >= MOST:
                shown.left_out += 1
            elif choice.tokens is None:
                shown.untold += 1
            else:
                _add(shown, result, choice, choice.tokens)
    return page(
        f"{label_text(model)}: {count_of(shown.texts, 'text')}",
        _summary(shown, model),
        f'<nav><span class="ramp"></span> expected → surprising</nav>\n'
        f"<main>{''.join(shown.markup)}</main>",
        {"colors": colors(), "heat": shown.heat, "tips": shown.tips},
        _SCRIPT,
        _STYLE,
    )


def _summary(shown: _Shown, model: str) -> str:
    lines = [f"{label_text(model)}: {count_of(shown.texts, 'text')}"]
    if shown.left_out:
        lines.append(f"{count_of(shown.left_out, 'more text')} would not fit on this page.")
    if shown.untold:
        lines.append(f"{count_of(shown.untold, 'text')} came without logprobs.")
    return "\n".join(lines)


def _add(
    shown: _Shown,
    result: Mapping[str, Any],
    choice: AnsweredChoice,
    tokens: Iterable[ChoiceToken],
) -> None:
    shown.texts += 1
    listed = list(tokens)
    figures = joint(choice.logprob or 0.0, len(listed))
    row = result.get("row")
    columns = f" · {label_text(json_text(row, ascii=False))}" if row is not None else ""
    heading = f"{label_text(str(result['custom_id']))} · {figures}{columns}"
    shown.markup.append(f"<h2>{html.escape(heading)}</h2><p>")
    for group in by_character(listed, lambda token: token.data):
        hottest = max(-token.logprob / math.log(2) for token in group)
        shown.heat.append(round(scale(hottest, "surprisal") * STEPS))
        shown.tips.append("\n".join(map(_tip, group)))
        text = display_text(b"".join(token.data for token in group))
        shown.markup.append(f"<span>{escaped(text)}</span>")
    shown.markup.append("</p>")


def _tip(token: ChoiceToken) -> str:
    rather = sorted(token.top.items(), key=lambda each: -each[1])
    listed = "   ".join(f"{visible(text.encode())} {of_logprob(value)}" for text, value in rather)
    own = f"{visible(token.data)}   {of_logprob(token.logprob)} · {bits(token.logprob)}"
    return f"{own}\n{listed}"
