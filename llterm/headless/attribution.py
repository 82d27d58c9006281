"""What led a model to a token of a text, without a screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llterm.backends.registry import find_model
from llterm.config import Config
from llterm.core.attribution_methods import METHODS, SHARES, SIGNED, Attribution, How, Question
from llterm.core.chat_messages import Chat
from llterm.core.counts import count_of
from llterm.core.display import visible
from llterm.core.jsontext import json_text
from llterm.core.query import Backend
from llterm.core.tokens import Token, Vocabulary
from llterm.engine.heads import head_of
from llterm.errors import UsageError
from llterm.headless.opened import opened
from llterm.number_format import of_logprob
from llterm.output import say
from llterm.progress_line import ProgressLine
from llterm.ramps import glyph, signed_glyph
from llterm.session.attributing import Attributing

VERSION = 1


@dataclass(frozen=True, slots=True)
class AttributionJob:
    """What to ask of what."""

    text: bytes
    config: Config
    model: str
    overrides: Mapping[str, int]
    how: How
    at: int | None
    """Index of the token; below 0 from the end; the text's length: what comes after it. None: the
    last one."""
    candidate: bytes | None
    """Another token to ask about in its place."""
    chat: Chat | None = None
    """What the text is a reply to."""


@dataclass(frozen=True, slots=True)
class AttributionReport:
    """What a job gave."""

    model: str
    vocabulary: Vocabulary
    question: Question
    skipped: int
    """Tokens at the text's beginning that the model does not see."""
    found: Attribution
    seconds: float

    @property
    def index(self) -> int:
        """Of the token in the text."""
        return self.skipped + len(self.question.tokens) - self.question.head

    @property
    def token(self) -> Token:
        return self.vocabulary.token(self.question.target)

    def contributor(self, place: int) -> tuple[int, Token]:
        """Index in the text, and the token, that the value at a place belongs to."""
        at = self.found.first + place
        index = self.skipped + at - self.question.head
        return index, self.vocabulary.token(self.question.tokens[at])


def run(job: AttributionJob) -> AttributionReport:
    """Answer. Raises LltermError, and KeyboardInterrupt where the person stops it."""
    find_model(job.model, job.config)
    return asyncio.run(_run(job))


async def _run(job: AttributionJob) -> AttributionReport:
    async with opened(job.model, job.config, job.overrides) as (backend, line):
        return await _ask(job, backend, line)


async def _ask(job: AttributionJob, backend: Backend, line: ProgressLine) -> AttributionReport:
    vocabulary = backend.vocabulary
    ids = await asyncio.to_thread(vocabulary.encode, job.text)
    at = _place(job.at, len(ids))
    target = _target(job, vocabulary, ids, at)
    prefix = await asyncio.to_thread(head_of, backend, job.chat)
    skipped = max(at - (backend.capabilities.context - len(prefix)), 0)
    question = Question(prefix + ids[skipped:at], len(prefix), target)
    attributing = Attributing(backend, question)
    try:
        told = attributing.price(job.how).told
        line.clear()
        say(f"{job.how.title}: {told}")
        start = time.monotonic()
        found = await attributing.ask(job.how, lambda share: line.say(f"Working: {share:.0%}"))
        seconds = time.monotonic() - start
    finally:
        await attributing.close()
    name = find_model(job.model, job.config).name
    return AttributionReport(name, vocabulary, question, skipped, found, seconds)


def _place(at: int | None, count: int) -> int:
    place = count - 1 if at is None else at + count if at < 0 else at
    if not 0 <= place <= count:
        raise UsageError(
            f"There is no token {at}",
            f"The text has {count:,} tokens: 0 to {count - 1:,}, and {count:,} for what follows.",
            "`llterm score --format json` lists them with their index.",
        )
    return place


def _target(job: AttributionJob, vocabulary: Vocabulary, ids: tuple[int, ...], at: int) -> int:
    if job.candidate is None:
        if at < len(ids):
            return ids[at]
        raise UsageError(
            "Nothing stands there yet", "It is the place after the text.", "Give a --candidate."
        )
    found = vocabulary.encode(job.candidate)
    if len(found) != 1:
        named = visible(job.candidate)
        raise UsageError(
            f"--candidate {named} is not one token",
            "It is " + " ".join(visible(vocabulary.token(id).data) for id in found) + ".",
            "Give the first of them; a space that begins a word belongs to it.",
        )
    return found[0]


def as_json(report: AttributionReport) -> str:
    """One object; documented in docs/json.md."""
    found, how = report.found, report.found.how
    result: dict[str, Any] = {
        "version": VERSION,
        "model": report.model,
        "vocabulary": report.vocabulary.fingerprint,
        "method": how.method,
        "unit": _unit(how),
        "signed": how.method in SIGNED,
        "layer": how.layer if how.method == "attention-layer" else None,
        "layers": list(found.layers),
        "token": {"index": report.index, **_named(report.token), "logprob": found.logprob},
        "tokens": [_valued(report, place) for place in range(len(found.values))],
        "elsewhere": found.elsewhere,
        "steps": found.steps,
        "gap": found.gap,
        "notes": list(found.notes),
        "stats": {
            "seconds": round(report.seconds, 6),
            "tokens_evaluated": found.cost.tokens,
            "decodes": found.cost.decodes,
        },
    }
    return json_text(result, indent=2)


def _unit(how: How) -> str:
    if how.method in SHARES:
        return "share"
    return "gradient" if how.method == "saliency" else "nats"


def _named(token: Token) -> dict[str, Any]:
    return {
        "id": token.id,
        "text": token.data.decode("utf-8", "replace"),
        "bytes": list(token.data),
    }


def _valued(report: AttributionReport, place: int) -> dict[str, Any]:
    index, token = report.contributor(place)
    without = report.found.without
    return {
        "index": index,
        **_named(token),
        "value": float(report.found.values[place]),
        "logprob_without": None if without is None else float(without[place]),
    }


def as_table(report: AttributionReport) -> str:
    """A line a token: index, value, a glyph of its size, the token."""
    found = report.found
    draw = signed_glyph if found.how.method in SIGNED else glyph
    lines = []
    for place, hot in enumerate(found.heat.tolist()):
        index, token = report.contributor(place)
        lines.append(f"{index:6} {found.told(place):>12} {draw(hot)}  {visible(token.data)}")
    return "\n".join([f"{'index':>6} {'value':>12}    token", *lines])


def summary(report: AttributionReport) -> str:
    """What was asked, and what to know of the answer."""
    found = report.found
    token = visible(report.token.data)
    p = "" if found.logprob is None else f" ({of_logprob(found.logprob)})"
    spent = f", {found.cost.tokens:,} tokens evaluated" if found.cost.tokens else ""
    head = f"{report.model}: what led to {token}{p}, token {report.index:,}: {found.how.title}; "
    lines = [
        f"{head}{report.seconds:.2f} s{spent}",
        *(f"{note[0].upper()}{note[1:]}." for note in found.notes),
    ]
    if found.elsewhere is not None and METHODS[found.how.method] == "attention":
        lines.append(f"{found.elsewhere:.1%} goes to what stands before these tokens.")
    if found.gap is not None:
        lines.append(
            f"{count_of(found.steps, 'step')}; the sum of the values is {found.gap:.1%} off."
        )
    if report.skipped:
        lines.append(f"The first {report.skipped:,} tokens are out of the model's sight.")
    return "\n".join(lines)
