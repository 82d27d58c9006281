"""Time that a test moves."""

from __future__ import annotations

import asyncio


class Clock:
    """Time that passes by sleeping only: whoever sleeps moves it on at once."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self._moved = asyncio.Event()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        if seconds:
            self.slept.append(seconds)
        # A turn of the loop first: who is cancelled meanwhile has not slept.
        await asyncio.sleep(0)
        self.now = max(self.now, until)
        self._moved.set()

    async def until(self, now: float) -> None:
        """Wait for others to sleep so long."""
        while self.now < now:
            self._moved.clear()
            await self._moved.wait()
