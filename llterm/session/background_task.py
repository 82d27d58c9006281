"""Work beside the event loop's own: one job at a time, and what becomes of it when it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from llterm.errors import LltermError
from llterm.faults import unforeseen

Reason = LltermError | str
"""Why a job ended before its time: what it failed with, or a word to the person. Empty: it did what
it was to do."""
Job = Callable[[], Awaitable[Reason]]


async def outcome(job: Job, failure: str) -> Reason:
    """Why a job ended. It may raise anything: what no one foresaw gets the title `failure` and
    goes to the log."""
    try:
        return await job()
    except LltermError as error:
        return error
    except Exception as fault:  # noqa: BLE001  (told where somebody waits)
        return unforeseen(failure, fault, words=True)


class BackgroundTask:
    """Runs one job at a time. Of a job that was stopped nothing is heard any more."""

    def __init__(self, failure: str, ended: Callable[[Reason], None] = lambda _: None) -> None:
        """`failure`: the title of what no one foresaw. `ended` hears why a job ended by itself;
        another one may be started then."""
        self._failure = failure
        self._ended = ended
        self._task: asyncio.Task[None] | None = None
        self._stopping: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    def start(self, job: Job) -> None:
        """Returns at once. The former job is stopped."""
        self.stop()
        self._task = asyncio.get_running_loop().create_task(self._run(job))

    def stop(self) -> bool:
        """Cancel the job; the caller is free at once. Returns whether there was one."""
        task, self._task = self._task, None
        if task is None or task.done():
            return False
        task.cancel()
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)
        return True

    async def wait(self) -> None:
        """Until the job has ended, or was stopped."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Stop, and wait until the job has let go of what it holds."""
        self.stop()
        if self._stopping:
            await asyncio.wait(self._stopping)

    async def _run(self, job: Job) -> None:
        reason = await outcome(job, self._failure)
        if self._task is asyncio.current_task():
            self._task = None
            self._ended(reason)
