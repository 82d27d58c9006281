"""One connection of the HTTP server, which ends where its client does not do its part.

uvicorn waits without end for a request's head, and for a client that reads nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from llterm.serve.serve_limits import ServeLimits


def guarded_connection(limits: ServeLimits) -> type[H11Protocol]:
    """The class of connections under these limits."""

    class GuardedConnection(H11Protocol):
        """Ends after `head_seconds` without the whole head of a request that has begun, and after
        `stalled_seconds` in which nothing of what waits to be sent was taken."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self._head: asyncio.TimerHandle | None = None
            self._stalled: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._await_head()

        def data_received(self, data: bytes) -> None:
            asked = self.cycle
            super().data_received(data)
            if self.cycle is not asked:
                self._head = _cancelled(self._head)
            elif self._head is None and (asked is None or asked.response_complete):
                self._await_head()

        def pause_writing(self) -> None:
            self.flow.pause_writing()
            self._stalled = self.loop.call_later(limits.stalled_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            self._stalled = _cancelled(self._stalled)
            self.flow.resume_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            self._head = _cancelled(self._head)
            self._stalled = _cancelled(self._stalled)
            super().connection_lost(exc)

        def _await_head(self) -> None:
            self._head = self.loop.call_later(limits.head_seconds, self.transport.close)

    return GuardedConnection


def _cancelled(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """What takes the timer's place."""
    if timer is not None:
        timer.cancel()
    return None
