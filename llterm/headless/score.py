"""A text read by a model, without a screen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass

from llterm.backends.registry import find_model, open_model
from llterm.backends.served import Counted, counted
from llterm.config import Config
from llterm.core.query import Backend, Cost
from llterm.core.reading import Reading, Summary, summarise
from llterm.engine.scoring import Method, score_text
from llterm.errors import UsageError
from llterm.headless.job import ProgressLine, opening

LEAST_WINDOW = 16


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
    counted: tuple[Counted, ...] = ()
    """What went over the wire, where the model is on a server."""


def run(job: ScoreJob) -> Report:
    """Read it all. Raises LltermError, and KeyboardInterrupt where the person stops it."""
    find_model(job.model, job.config)
    return asyncio.run(_run(job))


async def _run(job: ScoreJob) -> Report:
    line = ProgressLine()
    try:
        backend = await open_model(job.model, job.config, job.overrides, opening(line, job.model))
        try:
            return await _score(job, backend, line)
        finally:
            await backend.close()
    finally:
        line.clear()


async def _score(job: ScoreJob, backend: Backend, line: ProgressLine) -> Report:
    vocabulary = backend.vocabulary
    window, stride = _sizes(job, backend.capabilities.context, len(vocabulary.prefix))
    ids = await asyncio.to_thread(vocabulary.encode, job.text)
    if job.method == "halves" and len(ids) + len(vocabulary.prefix) < window:
        raise UsageError(
            "The text does not fill one window",
            f"It has {len(ids):,} tokens, and --method halves reads whole windows of {window:,}.",
            "Choose a smaller --window, or --method overlap.",
        )
    readings: list[Reading] = []
    cost, start = Cost(), time.monotonic()
    scores = score_text(backend, ids, window=window, stride=stride, method=job.method, keep=job.top)
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
        counted=counted(backend),
    )


def _sizes(job: ScoreJob, context: int, prefix: int) -> tuple[int, int]:
    """Window and stride, checked."""
    window = job.window or context
    if not LEAST_WINDOW <= window <= context:
        raise UsageError(
            f"--window {window} does not fit",
            f"The model sees {context:,} tokens at most; the least window is {LEAST_WINDOW}.",
            "Choose one in between, or a larger --context.",
        )
    body = window - prefix
    if job.method == "halves":
        return window, window
    stride = job.stride or body // 2
    if not 1 <= stride <= body:
        raise UsageError(
            f"--stride {stride} does not fit",
            f"Windows of {window:,} tokens can be 1 to {body:,} tokens apart.",
            "Leave it out for half a window.",
        )
    return window, stride
