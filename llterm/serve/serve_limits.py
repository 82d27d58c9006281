"""Bounds on what one client can ask of a server; each is a setting of `[serve]` or fixed here."""

from __future__ import annotations

from dataclasses import dataclass

MOST_STOPS = 16
STOP_BYTES = 256
MOST_BIASED = 1024
MOST_LISTED = 1024
"""Candidates told with one token."""
MOST_FACTS = 1_000_000
"""Candidates told in one answer: tokens × candidates."""
MOST_WATCHED = 128
MOST_ALLOWED = 1 << 19
"""As large as vocabularies are."""
MOST_MESSAGES = 4096
"""Of a chat."""
MOST_PARTS = 1024
"""Of one message."""
MOST_TOOLS = 128
"""Tools, and calls of one message."""
MOST_AGENTS = 16
"""That answer first, of one chat."""
MOST_MIXED = 8
"""Models of a mix."""
MOST_VARIABLES = 64
"""That a client gives a chat template."""
SCHEMA_BYTES = 1 << 16
"""Of a schema, grammar or pattern."""
HEAD_BYTES = 1 << 16
"""Of a request's line and headers together."""


@dataclass(frozen=True, slots=True)
class ServeLimits:
    """What may be set; seconds and bytes."""

    body: int = 4 << 20
    choices: int = 1024
    """Prompts × n of one request."""
    connections: int = 512
    queue: int = 256
    """Requests that wait; beyond, the answer is 429."""
    parallel: int = 16
    """Requests drawn at once, of each model."""
    slot_context: int | None = None
    """Most tokens of a request and its answer; None: as many as fit."""
    cache_memory: int | None = None
    """Bytes that a model's slots may take; None: a quarter of the machine's."""
    head_seconds: float = 15.0
    """For a request's line and headers, and between two parts of its body."""
    idle_seconds: float = 60.0
    """That a connection without a request is kept."""
    stalled_seconds: float = 30.0
    """That a client may leave unread what was sent to it."""
    request_seconds: float = 600.0
    drain_seconds: float = 10.0
    """That open requests are given when the server is to end."""
