"""A text read by a model, without a screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass

from llterm.backends.registry import find_model
from llterm.backends.served import Counted, counted
from llterm.config import Config
from llterm.core.chat_messages import Chat
from llterm.core.query import Backend, Cost
from llterm.core.scored_text import Reading, Summary, summarise
from llterm.engine.heads import head_of
from llterm.engine.score import Method, score_text
from llterm.errors import UsageError
from llterm.headless.opened import opened
from llterm.headless.windows import NO_HALVES, window_and_stride
from llterm.progress_line import ProgressLine


@dataclass(frozen=True, slots=True)
class ScoreJob:
    """What to read, and with what."""

    text: bytes
    config: Config
    model: str
    overrides: Mapping[str, int]
    top: int
    window: int | None
    """Tokens the model sees at once; None: its context."""
    stride: int | None
    """How far windows are apart; None: half a window."""
    method: Method
    chat: Chat | None = None
    """What the text is a reply to: it is read, and not scored."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a job gave."""

    model: str
    fingerprint: str
    text: bytes
    tokens: int
    """Tokens of the text; some of them are not scored by some methods."""
    readings: tuple[Reading, ...]
    summary: Summary
    window: int
    stride: int
    method: Method
    cost: Cost
    seconds: float
    chat: Chat | None = None
    """What the text is a reply to."""
    counted: tuple[Counted, ...] = ()
    """What went over the wire, where the model is on a server."""


def run(job: ScoreJob) -> Report:
    """Read it all. Raises LltermError, and KeyboardInterrupt where the person stops it."""
    find_model(job.model, job.config)
    return asyncio.run(_run(job))


async def _run(job: ScoreJob) -> Report:
    async with opened(job.model, job.config, job.overrides) as (backend, line):
        return await _score(job, backend, line)


async def _score(job: ScoreJob, backend: Backend, line: ProgressLine) -> Report:
    vocabulary = backend.vocabulary
    context = backend.capabilities.context
    head = await asyncio.to_thread(head_of, backend, job.chat)
    if job.chat and job.method == "halves":
        raise UsageError(*NO_HALVES)
    window, stride = window_and_stride(
        job.window or context,
        job.stride,
        job.method,
        context=context,
        prefix=len(head),
        who="The model sees",
    )
    ids = await asyncio.to_thread(vocabulary.encode, job.text)
    if job.method == "halves" and len(ids) + len(vocabulary.prefix) < window:
        raise UsageError(
            "The text does not fill one window",
            f"It has {len(ids):,} tokens, and --method halves reads whole windows of {window:,}.",
            "Choose a smaller --window, or --method overlap.",
        )
    readings: list[Reading] = []
    cost, start = Cost(), time.monotonic()
    scores = score_text(
        backend, ids, window=window, stride=stride, method=job.method, keep=job.top, head=head
    )
    async with aclosing(scores) as found:  # type: ignore[type-var]
        async for reading, spent in found:
            readings.append(reading)
            cost += spent
            line.say(f"Scoring: {(reading.index + 1) / max(len(ids), 1):.0%}")
    return Report(
        model=find_model(job.model, job.config).name,
        fingerprint=vocabulary.fingerprint,
        text=job.text,
        tokens=len(ids),
        readings=tuple(readings),
        summary=summarise(readings),
        window=window,
        stride=stride,
        method=job.method,
        cost=cost,
        seconds=time.monotonic() - start,
        chat=job.chat,
        counted=counted(backend),
    )
