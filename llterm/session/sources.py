"""What a session hears of its source."""

from __future__ import annotations

from collections.abc import Callable

from llterm.backends.served import server_of
from llterm.core.chat import ChatsTold
from llterm.core.query import Source


def listen_to(source: Source, changed: Callable[[], None]) -> None:
    """Have `changed` called when the source's server is away, or back, and when a chat that it
    had to wait for is there."""
    server = server_of(source)
    if server is not None:
        server.news.heard = changed
    if isinstance(source, ChatsTold):
        source.hear_chats(changed)
