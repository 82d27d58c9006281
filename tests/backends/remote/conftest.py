"""A clock that only moves when somebody sleeps, and wires on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from llterm.backends.remote.httpwire import HttpWire
from llterm.backends.remote.keys import Secret
from llterm.config.server import ServerSettings


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


@pytest.fixture
def clock() -> Clock:
    return Clock()


MakeWire = Callable[..., HttpWire]


@pytest.fixture
async def wire(clock: Clock) -> AsyncIterator[MakeWire]:
    """Makes wires to addresses, with settings by name; closes them at the end."""
    made: list[HttpWire] = []

    def make(
        *urls: str, key: str = "", tell: Callable[[str], None] | None = None, **settings: Any
    ) -> HttpWire:
        secret = Secret(key) if key else None
        found = ServerSettings(urls, **settings)
        made.append(HttpWire(found, secret, tell, clock=clock, sleep=clock.sleep))
        return made[-1]

    yield make
    for one in made:
        await one.close()
