"""Time that a test moves."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Clock:
    """Time that passes by sleeping only: whoever sleeps moves it on at once."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self._moved = asyncio.Event()
        self._halt = math.inf
        """Nobody moves it on once it says so late."""
        self._released = asyncio.Event()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        if seconds:
            self.slept.append(seconds)
        # A turn of the loop first: who is cancelled meanwhile has not slept.
        await asyncio.sleep(0)
        while self.now >= self._halt:
            await self._released.wait()
        self.now = max(self.now, until)
        self._moved.set()

    @asynccontextmanager
    async def halted(self, now: float) -> AsyncIterator[None]:
        """Wait for others to sleep so long; then nobody has slept until this ends."""
        self._halt = now
        self._released.clear()
        while self.now < now:
            self._moved.clear()
            await self._moved.wait()
        yield
        self._halt = math.inf
        self._released.set()
