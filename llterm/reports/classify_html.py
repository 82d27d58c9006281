"""Classified texts as one HTML page: every answer with its bars, and those to look at first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from llterm.core.classification.verdict_words import ABSTAINS
from llterm.core.classification.verdicts import LabelShare, Verdict
from llterm.core.display_text import display_text
from llterm.jobs.classify import ClassifiedText, ClassifyResult
from llterm.number_format import count_of, of_logprob, percent
from llterm.reports.classify_text import classify_summary
from llterm.reports.html_page import escaped, page

MOST = 5000
"""Answers on a page."""
_TEXT = 600
"""Characters shown of a text."""
_STYLE = """\
header { white-space: pre-wrap; }
article { border-top: 1px solid #3a3f4a; padding: 0.6rem 0; }
article p { margin: 0 0 0.3rem; white-space: pre-wrap; font: 0.95rem/1.4 Georgia, serif; }
article h2 { margin: 0; font: bold 0.9rem/1.5 ui-monospace, monospace; }
.share { display: grid; grid-template-columns: 10rem 1fr 6rem; gap: 0.6rem; align-items: center;
  font: 0.85rem/1.3 ui-monospace, monospace; }
.share i { display: block; height: 0.7rem; background: #6f9ceb; }
.chosen { font-weight: bold; } .wrong h2::after { content: " ✗"; }
.right h2::after { content: " ✓"; }"""
_SCRIPT = """\
tip.textContent = "Point at a bar.";
const shown = document.querySelectorAll("article");
document.querySelectorAll("button").forEach(one => one.onclick = () => {
  shown.forEach((article, n) => article.hidden = !data.kinds[n].includes(one.dataset.kind));
  document.querySelectorAll("button").forEach(other =>
    other.setAttribute("aria-pressed", other === one));
});
document.querySelectorAll(".share").forEach((bar, n) => {
  bar.tabIndex = 0;
  bar.onmouseenter = bar.onfocus = () => { tip.textContent = data.tips[n]; };
});"""


def classify_page(result: ClassifyResult) -> str:
    """The page. What people and models wrote is in it as text, never as markup."""
    every = ((text, verdict) for text, said in result.judged() for verdict in said)
    answers = list(islice(every, MOST + 1))
    left = len(answers) > MOST
    answers = answers[:MOST]
    data: dict[str, Any] = {
        "kinds": [list(_kinds(text, verdict)) for text, verdict in answers],
        "tips": [_tip(share) for _, verdict in answers for share in _ordered(verdict)],
    }
    kinds = ["all", "wrong", "unsure", "abstains", "other wanted"]
    present = [kind for kind in kinds if any(kind in each for each in data["kinds"])]
    buttons = " ".join(
        f'<button data-kind="{kind}" aria-pressed="{str(kind == "all").lower()}">{kind}</button>'
        for kind in present
    )
    note = f"<p>The first {MOST:,} answers are shown.</p>" if left else ""
    body = "".join(_article(text, verdict) for text, verdict in answers)
    return page(
        f"{result.model}: {count_of(len(result.texts), 'text')}",
        classify_summary(result),
        f"<nav>{buttons}</nav>{note}\n<section>{body}</section>",
        data,
        _SCRIPT,
        _STYLE,
    )


def _article(text: ClassifiedText, verdict: Verdict) -> str:
    truth = text.row.truth.get(verdict.question)
    names = ", ".join(label.name for label in verdict.chosen) or ABSTAINS
    said = "" if truth is None else f" — {', '.join(truth)}"
    question = f"{verdict.question} " if verdict.question else ""
    kind = {True: "right", False: "wrong", None: ""}[_is_right(text, verdict)]
    shown = display_text(text.row.text[:_TEXT].encode("utf-8", "surrogateescape"))
    more = "…" if len(text.row.text) > _TEXT else ""
    bars = "".join(_bar(share, verdict) for share in _ordered(verdict))
    heading = _flat(f"{text.row.custom_id} · {question}{names}{said}")
    return (
        f'<article class="{kind}"><p>{escaped(shown)}{more}</p><h2>{heading}</h2>{bars}</article>'
    )


def _bar(share: LabelShare, verdict: Verdict) -> str:
    chosen = " chosen" if share.label in verdict.chosen else ""
    return (
        f'<div class="share{chosen}"><span>{_flat(share.label.name)}</span>'
        f'<i style="width: {100 * share.p:.2f}%"></i><span>{percent(share.p)}</span></div>'
    )


def _ordered(verdict: Verdict) -> list[LabelShare]:
    return sorted(verdict.labels, key=lambda share: -share.p)


def _flat(text: str) -> str:
    return escaped(display_text(text.encode("utf-8", "surrogateescape")))


def _tip(share: LabelShare) -> str:
    return (
        f"{share.label.name}   share {percent(share.p)} · raw {percent(share.p_raw)} · the model's"
        f" own probability {of_logprob(share.logprob)} (ln p {share.logprob:.4f})"
    )


def _is_right(text: ClassifiedText, verdict: Verdict) -> bool | None:
    """Whether the answer is the true one; None where that is not known."""
    truth: Sequence[str] | None = text.row.truth.get(verdict.question)
    if truth is None:
        return None
    true = {
        share.label.name
        for share in verdict.labels
        if {share.label.name, *share.label.spellings} & set(truth)
    }
    return true == {label.name for label in verdict.chosen}


def _kinds(text: ClassifiedText, verdict: Verdict) -> Iterator[str]:
    yield "all"
    if _is_right(text, verdict) is False:
        yield "wrong"
    if verdict.margin < 0.2:
        yield "unsure"
    if not verdict.chosen and not verdict.several:
        yield "abstains"
    if verdict.little:
        yield "other wanted"
