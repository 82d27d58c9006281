"""Reads a text with a model: how surprising each of its tokens is."""

from __future__ import annotations

import time
from contextlib import aclosing
from dataclasses import dataclass

from llterm.backends.remote.server_usage import ServerUsage, counted
from llterm.core.chat_messages import Chat
from llterm.core.kernels import KernelKind
from llterm.core.query import Backend, Cost
from llterm.core.scored_text import Summary, TextReadings, summarise
from llterm.engine.prompt_heads import head_of
from llterm.engine.score import Method, score_text
from llterm.errors import UsageError
from llterm.jobs.request import Request
from llterm.jobs.runner import SILENCE, Listener, names_of, opened

LEAST_WINDOW = 16
NO_HALVES = (
    "A text with a chat or a hidden prefix is not read in halves",
    "Windows side by side would cut what stands before it.",
    "Choose --method overlap, and no base file: every window begins with that.",
)
"""A UsageError's words."""


@dataclass(frozen=True, slots=True)
class ScoreOptions:
    """How a text is read."""

    top: int = 5
    """Candidates told of each token."""
    window: int | None = None
    """Tokens the model sees at once; None: its context."""
    stride: int | None = None
    """How far windows are apart; None: half a window."""
    method: Method = "overlap"


@dataclass(frozen=True, slots=True)
class ScoreResult:
    """A text as a model read it."""

    model: str
    fingerprint: str
    """Of its vocabulary."""
    text: bytes
    tokens: int
    """Tokens of the text; some of them are not scored by some methods."""
    readings: TextReadings
    summary: Summary
    window: int
    stride: int
    method: Method
    cost: Cost
    seconds: float
    chat: Chat | None = None
    """What the text is a reply to."""
    counted: tuple[ServerUsage, ...] = ()
    """What went over the wire, where the model is on a server."""
    kernels: KernelKind | None = None
    """What its figures were computed with; None where that was elsewhere."""


async def score(
    request: Request, options: ScoreOptions, listener: Listener = SILENCE
) -> ScoreResult:
    """Read the request's text; a hidden prefix or a chat before it is read and not scored.

    Raises LltermError. Cancelling stops it.
    """
    (name,) = names_of(request)
    async with opened(request, listener) as backend:
        return await _score(request, options, name, backend, listener)


async def _score(
    request: Request, options: ScoreOptions, name: str, backend: Backend, listener: Listener
) -> ScoreResult:
    vocabulary = backend.vocabulary
    method = options.method
    head = await head_of(backend, request.chat, request.prefix or "")
    ids = await vocabulary.tokenize(request.text)
    # A server that tells a text's tokens may tell only with them how much its model sees.
    context = backend.capabilities.context
    if (request.chat or request.prefix) and method == "halves":
        raise UsageError(*NO_HALVES)
    window, stride = window_and_stride(
        options.window or context,
        options.stride,
        method,
        context=context,
        prefix=len(head),
        who="The model sees",
    )
    if method == "halves" and len(ids) + len(vocabulary.prefix) < window:
        raise UsageError(
            "The text does not fill one window",
            f"It has {len(ids):,} tokens, and --method halves reads whole windows of {window:,}.",
            "Choose a smaller --window, or --method overlap.",
        )
    readings = TextReadings()
    cost, start = Cost(), time.monotonic()
    scores = score_text(
        backend, ids, window=window, stride=stride, method=method, keep=options.top, head=head
    )
    async with aclosing(scores) as scored:  # type: ignore[type-var]
        async for part, spent in scored:
            readings.add(part)
            cost += spent
            listener.say(f"Scoring: {part.end / max(len(ids), 1):.0%}")
    return ScoreResult(
        model=name,
        fingerprint=vocabulary.fingerprint,
        text=request.text,
        tokens=len(ids),
        readings=readings,
        summary=summarise(readings.bare()),
        window=window,
        stride=stride,
        method=method,
        cost=cost,
        seconds=time.monotonic() - start,
        chat=request.chat,
        counted=counted(backend),
        kernels=backend.capabilities.kernel_kind,
    )


def window_and_stride(
    window: int, stride: int | None, method: Method, *, context: int, prefix: int, who: str
) -> tuple[int, int]:
    """Both in tokens; a stride of None is half a window, and halves lie side by side.

    `context` is what the model sees at most, `prefix` how many tokens begin every window, and
    `who` sees it ("The model sees"). Raises UsageError for what does not fit.
    """
    if not LEAST_WINDOW <= window <= context:
        raise UsageError(
            f"--window {window} does not fit",
            f"{who} {context:,} tokens at most; the least window is {LEAST_WINDOW}.",
            "Choose one in between, or a larger --context.",
        )
    if method == "halves":
        return window, window
    body = window - prefix
    if body < 2:
        raise UsageError(
            f"A window of {window:,} tokens has no room for the text",
            f"{prefix:,} of them are the chat before it.",
            "Choose a larger --window or --context, or a shorter chat.",
        )
    stride = stride or body // 2
    if not 1 <= stride <= body:
        raise UsageError(
            f"--stride {stride} does not fit",
            f"Windows of {window:,} tokens can be 1 to {body:,} tokens apart.",
            "Leave it out for half a window.",
        )
    return window, stride
