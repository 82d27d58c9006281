"""Chats that are opened elsewhere, by a server or in another process: each once, when first wanted.

The event loop never waits for them.
"""

from __future__ import annotations

import asyncio
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Protocol

from llterm.backends.chat_formats import ChatFormat
from llterm.core.chat_messages import Chat, ChatParts
from llterm.errors import LltermError

KEPT = 16
"""Chats whose opening is remembered."""
AGAIN = 5.0
"""Seconds for which a chat that could not be opened is not asked for again."""


class ChatOpener(Protocol):
    """A way to open chats."""

    @property
    def name(self) -> str:
        """What the format is called, for people."""

    def open(self, chat: Chat) -> ChatParts | None:
        """The chat up to where the reply begins; None where it is being opened. To be called on the
        event loop. Raises LltermError."""

    async def opened(self, chat: Chat) -> ChatParts:
        """The same; waits until it is open. Raises LltermError."""

    def hear(self, told: Callable[[], None]) -> None:
        """Have `told` called when a chat that was being opened is there."""

    async def close(self) -> None:
        """Give up what is being opened."""


class OpensAtOnce:
    """Base of openers that open a chat on the spot: nothing is waited for."""

    def hear(self, told: Callable[[], None]) -> None:
        pass

    async def close(self) -> None:
        pass


class DeferredOpener(ABC):
    """A chat has no parts until they are there; whoever wants to go on without them can."""

    again = AGAIN

    def __init__(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        self.name = name
        self._loop = loop
        self._told: dict[Chat, ChatParts] = {}
        self._failed: dict[Chat, tuple[LltermError, float]] = {}
        self._asked: dict[Chat, asyncio.Task[None]] = {}
        self._owed = False
        """A chat was wanted before it was there."""
        self._heard: Callable[[], None] | None = None

    @abstractmethod
    async def render(self, chat: Chat) -> ChatParts:
        """Open one. Raises LltermError."""

    def open(self, chat: Chat) -> ChatParts | None:
        self._begin(chat)
        self._owed |= chat in self._asked
        if chat in self._failed and chat not in self._asked:
            raise self._failed[chat][0]
        return self._told.get(chat)

    async def opened(self, chat: Chat) -> ChatParts:
        while (parts := self.open(chat)) is None:
            # Whoever else waits for it is not cancelled with this one.
            await asyncio.shield(self._asked[chat])
        return parts

    def hear(self, told: Callable[[], None]) -> None:
        self._heard = told

    async def close(self) -> None:
        self._heard = None
        for opening in self._asked.values():
            opening.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)

    def _begin(self, chat: Chat) -> None:
        """Ask for this chat, unless that is done, under way, or failed just now."""
        _, failed = self._failed.get(chat, (None, -math.inf))
        if chat in self._told or chat in self._asked or time.monotonic() < failed + self.again:
            return
        self._asked[chat] = self._loop.create_task(self._ask(chat))

    async def _ask(self, chat: Chat) -> None:
        try:
            self._told[chat] = await self.render(chat)
            self._failed.pop(chat, None)
            while len(self._told) > KEPT:
                del self._told[next(iter(self._told))]
        except LltermError as error:
            self._failed[chat] = error, time.monotonic()
        finally:
            del self._asked[chat]
        if self._owed and self._heard is not None:
            self._owed = False
            self._heard()


class TemplateOpener(DeferredOpener):
    """Chats by a template from outside, which is rendered in another process."""

    again = 60.0  # A template fails as it failed before, and may take a second of a core for it.

    def __init__(self, loop: asyncio.AbstractEventLoop, form: ChatFormat) -> None:
        super().__init__(loop, form.name)
        self._form = form

    async def render(self, chat: Chat) -> ChatParts:
        return await asyncio.to_thread(self._form.open, chat)


class BuiltInOpener(OpensAtOnce):
    """Chats in a format that llterm or llama.cpp knows."""

    def __init__(self, form: ChatFormat) -> None:
        self.name = form.name
        self._form = form

    def open(self, chat: Chat) -> ChatParts:
        return self._form.open(chat)

    async def opened(self, chat: Chat) -> ChatParts:
        return self.open(chat)


def opener(form: ChatFormat, loop: asyncio.AbstractEventLoop) -> ChatOpener:
    """The opener of chats in this format; no template can stop the event loop."""
    return TemplateOpener(loop, form) if form.template else BuiltInOpener(form)
