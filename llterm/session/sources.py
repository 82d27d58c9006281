"""What a session asks of its source before it weaves: servers cannot do all that files can."""

from __future__ import annotations

from collections.abc import Callable

from llterm.backends.served import server_of
from llterm.core.chat_messages import ChatsTold
from llterm.core.query import Source
from llterm.core.tokens import Settling
from llterm.errors import CapabilityMissing


def check_constraints(source: Source) -> None:
    """Raise CapabilityMissing where suggestions cannot be held to a constraint."""
    if not source.capabilities.masks:
        raise CapabilityMissing(
            "This model cannot be held to a constraint",
            "Its server takes no bias that leaves the probabilities as they are, or does not tell"
            " its vocabulary.",
            "llama.cpp's server can, and models in process.",
        )


async def told_more(source: Source) -> bool:
    """Whether the story's tokens, which could only be guessed at once, are known now."""
    asked = [one for one in (source, source.vocabulary) if isinstance(one, Settling)]
    return any([await one.settle() for one in asked])


def listen_to(source: Source, changed: Callable[[], None]) -> None:
    """Have `changed` called when the source's server is away, or back, and when a chat that it
    had to wait for is there."""
    server = server_of(source)
    if server is not None:
        server.news.heard = changed
    if isinstance(source, ChatsTold):
        source.hear_chats(changed)
