"""One loom that a server has open: whoever asks takes turns, and whoever listens hears each step.

It is only read until something is written. The lock is asked for then, and given back after a
while without a change, so that the app and other programs may write it too.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TypeVar

from llterm.core.history import UndoStep
from llterm.errors import LltermError, UsageError
from llterm.serve.api_errors import ApiError
from llterm.serve.loom_records import steps_event
from llterm.session.document import Document
from llterm.session.undo_log import StepWay

log = logging.getLogger(__name__)

Result = TypeVar("Result")
Event = Mapping[str, Any]
IDLE_SECONDS = 60.0
"""Without a change, after which the lock is given back."""
LOOK_SECONDS = 0.25
"""Between two looks at what others wrote, while somebody listens."""
MOST_EVENTS = 256
"""That are kept for a listener who comes back, and that wait for a slow one."""


class ServedLoom:
    """A document with turns, a lock for as long as it is needed, and listeners."""

    def __init__(self, document: Document, idle_seconds: float = IDLE_SECONDS) -> None:
        self._document = document
        self._idle_seconds = idle_seconds
        self._turn = asyncio.Lock()
        self._fresh: list[tuple[UndoStep, StepWay]] = []
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._told = document.undo_log.revision
        """The revision of the last event."""
        self._listeners: set[asyncio.Queue[Event | None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._resting: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        document.undo_log.heard = lambda step, way: self._fresh.append((step, way))
        document.bear(lambda missing: log.warning("of a loom is missing: %s", missing.said))

    @classmethod
    async def open(cls, path: Path, idle_seconds: float = IDLE_SECONDS) -> ServedLoom:
        """An existing one. Raises LltermError."""
        return cls(await asyncio.to_thread(Document.open, path, reading=True), idle_seconds)

    @property
    def in_place(self) -> bool:
        """Whether its file was neither renamed nor deleted."""
        file = self._document.undo_log.file
        return file is not None and file.in_place

    @property
    def idle(self) -> bool:
        """Whether nobody needs it now: it can be closed."""
        return not (self._listeners or self._tasks or not self._document.read_only)

    async def read(self, work: Callable[[Document], Result]) -> Result:
        """What this gives of the loom as it is now, in a thread. Raises LltermError."""
        return await self._in_turn(lambda: self._read(work))

    async def plan(self, work: Callable[[Document], Awaitable[Result]]) -> Result:
        """What this makes ready of the loom as it is now, where a model is asked for tokens
        meanwhile; on the event loop. Raises LltermError."""

        async def planned() -> Result:
            async with self._turn:
                await asyncio.to_thread(self._document.follow)
                self._publish()
                return await work(self._document)

        return await self._shielded(planned())

    async def write(
        self, work: Callable[[Document], Result], expected: int | None = None
    ) -> Result:
        """Change the loom by this, in a thread, and have it on disk.

        Raises ApiError (409) where another llterm writes it, or its revision is not the `expected`
        one any more; what the work raises, with the loom as it was.
        """
        return await self._in_turn(lambda: self._write(work, expected))

    async def events(self, after: int | None) -> AsyncGenerator[Event]:
        """Every step from now on; with `after` those since that revision first, or where these are
        not known any more, one event that says so."""
        queue: asyncio.Queue[Event | None] = asyncio.Queue(MOST_EVENTS + 1)
        revision = await self.read(lambda document: document.undo_log.revision)
        for missed in self._since(after, revision):
            queue.put_nowait(missed)
        self._listeners.add(queue)
        self._looking = self._looking or asyncio.create_task(self._look())
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._listeners.discard(queue)
            if not self._listeners and self._looking is not None:
                self._looking.cancel()
                self._looking = None

    async def close(self) -> None:
        """Write what is not written, and close; who listens has heard all. What fails is logged."""
        for queue in self._listeners:
            queue.put_nowait(None)
        if self._resting is not None:
            self._resting.cancel()
        if self._looking is not None:
            self._looking.cancel()
        async with self._turn:
            try:
                await asyncio.to_thread(self._document.close)
            except LltermError as error:
                log.error("a loom was closed: %s", error)

    # --- inner workings

    async def _in_turn(self, work: Callable[[], Result]) -> Result:
        """Do this in a thread when its turn has come."""
        return await self._shielded(self._turned(work))

    async def _shielded(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Who stops waiting does not end it halfway."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _turned(self, work: Callable[[], Result]) -> Result:
        async with self._turn:
            try:
                return await asyncio.to_thread(work)
            finally:
                self._publish()
                if not self._document.read_only:
                    self._rest()

    def _read(self, work: Callable[[Document], Result]) -> Result:
        self._document.follow()
        return work(self._document)

    def _write(self, work: Callable[[Document], Result], expected: int | None) -> Result:
        document = self._document
        try:
            document.take()
        except UsageError as error:
            raise ApiError(409, "Another llterm writes this loom", error.cause, error.hint,
                           code="loom_locked", headers=_NEVER) from error  # fmt: skip
        if expected is not None and expected != document.undo_log.revision:
            raise ApiError(
                409, "The loom has changed",
                f"It is at revision {document.undo_log.revision}, not {expected}.",
                "Read it again, then try again.", code="revision_conflict", headers=_NEVER,
            )  # fmt: skip
        result = work(document)
        document.undo_log.flush()
        return result

    def _publish(self) -> None:
        """Tell listeners what was done since."""
        revision, fresh = self._document.undo_log.revision, self._fresh[:]
        self._fresh.clear()
        if revision == self._told and not fresh:
            return
        event = steps_event(self._document, fresh, self._told)
        self._told = revision
        self._events.append(event)
        for queue in tuple(self._listeners):
            if queue.qsize() >= MOST_EVENTS:
                while not queue.empty():
                    queue.get_nowait()
                event = {"type": "reset", "revision": revision}
            queue.put_nowait(event)

    def _since(self, after: int | None, revision: int) -> list[Event]:
        if after is None or after == revision:
            return []
        missed = [event for event in self._events if event["revision"] > after]
        if missed and missed[0]["before"] <= after:
            return missed
        return [{"type": "reset", "revision": revision}]

    def _rest(self) -> None:
        """Give the lock back, unless something changes before."""
        if self._resting is not None:
            self._resting.cancel()
        loop = asyncio.get_running_loop()
        self._resting = loop.call_later(self._idle_seconds, self._release)

    def _release(self) -> None:
        self._resting = None
        task = asyncio.create_task(self._let_go())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _let_go(self) -> None:
        async with self._turn:
            if self._resting is not None:
                return
            try:
                await asyncio.to_thread(self._document.release)
            except LltermError as error:
                log.error("a loom could not be written: %s", error)
                self._rest()

    async def _look(self) -> None:
        """Read again and again what others write, as long as somebody listens."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._document.read_only:
                try:
                    await self.read(lambda _: None)
                except LltermError as error:
                    log.warning("a loom could not be followed: %s", error)


_NEVER = {"x-should-retry": "false"}
