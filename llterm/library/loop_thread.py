"""The event loop of the sync face: one thread for all models that are open, and none when none is.

Works where a loop runs already, as in a notebook: what is asked there waits for this one.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, Generic, Protocol, Self, TypeVar

from llterm.errors import LltermError, UsageError

T = TypeVar("T")


class DocumentThread(Protocol):
    """Where a loom is read and written: one thread, always the same."""

    def call(self, work: Callable[[], T]) -> T:
        """Do this there. Returns what it returns, raises what it raises."""


class HereAlone:
    """The thread that opened the model, for looms of the async face."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def call(self, work: Callable[[], T]) -> T:
        """Raises UsageError on another thread."""
        if threading.get_ident() != self._thread:
            raise UsageError(
                "This loom belongs to another thread",
                "What aopen gives is used where its event loop runs.",
                "Use llterm.open, whose looms may be used from any thread.",
            )
        return work()


class LoopThread:
    """An event loop on a thread of its own, for callers on any other thread."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="llterm", daemon=True)
        self._thread.start()

    def call(self, work: Callable[[], T]) -> T:
        if threading.current_thread() is self._thread:
            return work()
        done: Future[T] = Future()

        def do() -> None:
            try:
                done.set_result(work())
            except BaseException as error:  # noqa: BLE001  (raised where somebody waits)
                done.set_exception(error)

        self._tell(do)
        return done.result()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it to its end. Ctrl-C, or whatever else ends the wait, cancels it, and is raised when
        it has ended. Raises UsageError where it could never end."""
        if threading.current_thread() is self._thread:
            work.close()
            raise UsageError(
                "This was called from llterm's own thread",
                "It would wait for itself: a progress callback can't ask the model.",
                "Call it from the thread that opened the model.",
            )
        done: Future[T] = Future()
        tasks: list[asyncio.Task[T]] = []

        def begin() -> None:
            task = self._loop.create_task(work)
            tasks.append(task)
            task.add_done_callback(end)

        def end(task: asyncio.Task[T]) -> None:
            if task.cancelled():
                done.set_exception(CancelledError())
            elif (error := task.exception()) is not None:
                done.set_exception(error)
            else:
                done.set_result(task.result())

        try:
            self._tell(begin)
        except LltermError:
            work.close()
            raise
        try:
            return done.result()
        except BaseException:
            if not done.done():
                self._tell(lambda: [task.cancel() for task in tasks])
                with suppress(BaseException):
                    done.result()
            raise

    def stop(self) -> None:
        """End the loop and the thread; nothing runs there any more."""
        self._tell(self._loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()

    def _tell(self, work: Callable[[], object]) -> None:
        if os.getpid() != self._process:
            raise LltermError(
                "This model belongs to another process",
                "The process was forked after it was opened.",
                "Open models after a fork, or start processes by spawning them.",
            )
        try:
            self._loop.call_soon_threadsafe(work)
        except RuntimeError as error:
            raise closed_error() from error


def closed_error() -> UsageError:
    """What is asked of something that was closed."""
    return UsageError("This model is closed", "Its with block has ended.", "Open it again.")


_lock = threading.Lock()
_shared: list[LoopThread] = []
_users = 0


def take_thread() -> LoopThread:
    """The thread of the sync face, begun where there is none. Give it back with `leave_thread`."""
    global _users
    with _lock:
        if not _shared:
            _shared.append(LoopThread())
        _users += 1
        return _shared[0]


def leave_thread() -> None:
    """One user less; the last one ends it."""
    global _users
    with _lock:
        _users -= 1
        ended = _shared.pop() if not _users else None
    if ended is not None:
        ended.stop()


class Stream(Generic[T]):
    """What comes one by one, as it is made. Closed early, or by leaving its with block, it
    stops."""

    def __init__(self, thread: LoopThread, source: AsyncGenerator[T]) -> None:
        self._thread = thread
        self._source = source
        self._ended = False

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        if self._ended:
            raise StopIteration
        try:
            item = self._thread.run(_next(self._source))
        except BaseException:
            self.close()
            raise
        if isinstance(item, _End):
            self._ended = True
            raise StopIteration
        return item

    def close(self) -> None:
        """Stop it. What was made stays."""
        if not self._ended:
            self._ended = True
            self._thread.run(_close(self._source))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()


class _End:
    """Comes after the last."""


async def _next(source: AsyncGenerator[T]) -> T | _End:
    return await anext(source, _End())


async def _close(source: AsyncGenerator[Any]) -> None:
    await source.aclose()
