"""A clock that only moves when somebody sleeps, and wires on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from llterm.backends.remote.api_keys import Secret
from llterm.backends.remote.http_transport import HttpTransport
from llterm.config.server_settings import ServerSettings
from llterm.core.server_news import ServerNews
from tests.helpers.fake_clock import Clock
from tests.helpers.faulty_server import MakeWire


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def wire(clock: Clock) -> AsyncIterator[MakeWire]:
    """Makes wires to addresses, with settings by name; closes them at the end."""
    made: list[HttpTransport] = []

    def make(
        *urls: str, key: str = "", news: ServerNews | None = None, **settings: Any
    ) -> HttpTransport:
        secret = Secret(key) if key else None
        found = ServerSettings(urls, **settings)
        made.append(HttpTransport(found, secret, news, clock=clock, sleep=clock.sleep))
        return made[-1]

    yield make
    for one in made:
        await one.close()
