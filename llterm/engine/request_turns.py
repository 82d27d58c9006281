"""Who may draw now, of many who ask: equal turns by who asks, and a bounded queue."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from llterm.engine.generation import Busy


class RequestTurns:
    """Lets a number of requests run at once; the others wait, each asker's in their order."""

    def __init__(self, running: int, waiting: int) -> None:
        self._free = self._most_running = running
        self._most_waiting = waiting
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}
        """By asker; whoever was let in last stands last."""
        self._further: set[asyncio.Future[None]] = set()

    @property
    def running(self) -> int:
        """Requests that have a turn."""
        return self._most_running - self._free

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return sum(map(len, self._queues.values()))

    @asynccontextmanager
    async def turn(self, whose: str, *, further: bool = False) -> AsyncIterator[None]:
        """Wait for a turn and have it. Raises Busy where too many wait already.

        `further`: it comes with another one, as which it is counted while it waits."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(whose, further)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, whose: str, further: bool) -> None:
        if not further and self.waiting - len(self._further) >= self._most_waiting:
            raise Busy(
                "Too many requests wait",
                f"{self._most_waiting} do already.",
                "Try again in a moment.",
            )
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queues.setdefault(whose, deque()).append(place)
        if further:
            self._further.add(place)
            place.add_done_callback(self._further.discard)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                # Let in and gone in the same moment.
                self._pass_on()
            else:
                self._leave(whose, place)
            raise

    def _leave(self, whose: str, place: asyncio.Future[None]) -> None:
        queue = self._queues.get(whose, deque())
        if place in queue:
            queue.remove(place)
            if not queue:
                del self._queues[whose]

    def _pass_on(self) -> None:
        while self._queues:
            whose = next(iter(self._queues))
            queue = self._queues.pop(whose)
            place = queue.popleft()
            if queue:
                self._queues[whose] = queue
            # One that was cancelled in this moment has not left yet.
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
