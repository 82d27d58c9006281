"""How a server is doing now, for whoever watches it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from llterm.serve.server_state import ServerState

_SPAN = 8
"""Looks over which the speed is taken."""


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """Counts; nothing of what is asked."""

    requests: int
    """Under way."""
    running: int
    """Texts that are drawn."""
    waiting: int
    """Texts that wait until others have ended."""
    speed: float
    """Tokens drawn a second, of late."""
    prompt_tokens: int
    """Of all requests that have ended."""
    cached_tokens: int
    """As many of these were not evaluated."""
    proposed_tokens: int = 0
    """That drafts wrote ahead for requests that have ended."""
    accepted_tokens: int = 0
    """As many of these were then drawn."""


class StatusLooks:
    """Looks at a server, one after the other."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._drawn: deque[tuple[float, int]] = deque(maxlen=_SPAN)
        """When it was looked, and how many tokens were drawn until then."""

    def look(self, now: float) -> ServerStatus:
        """How it is doing. `now`: seconds on the caller's clock, more than at the last look."""
        counts = self._state.counts
        generators = [model.generator for model in self._state.models.loaded]
        drawn = counts.drawn_so_far
        since, before = self._drawn[0] if self._drawn else (now, drawn)
        self._drawn.append((now, drawn))
        return ServerStatus(
            self._state.open.count,
            sum(generator.running for generator in generators),
            sum(generator.waiting for generator in generators),
            (drawn - before) / (now - since) if now > since else 0.0,
            counts.prompt_tokens,
            counts.cached_tokens,
            counts.proposed_tokens,
            counts.accepted_tokens,
        )
