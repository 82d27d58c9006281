"""The search under way: a weave, driven until it is done, fails or is stopped."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from llterm.core.query import Source
from llterm.engine.weave import drive
from llterm.errors import LltermError
from llterm.session.refusals import unforeseen
from llterm.session.status import Status
from llterm.session.woven import Woven

log = logging.getLogger(__name__)


class Searching:
    """Drives a weave from its source, one at a time."""

    def __init__(
        self,
        settle: Callable[[Woven, Source], Awaitable[bool]],
        changed: Callable[[], None],
        ended: Callable[[Status], None],
    ) -> None:
        """`settle` makes a weave ready for its first question, and says whether that changed it.
        `changed` hears of every answer, `ended` once of how a search ended."""
        self._settle = settle
        self._changed = changed
        self._ended = ended
        self._task: asyncio.Task[None] | None = None
        self._woven: Woven | None = None
        self._started = 0.0

    @property
    def running(self) -> bool:
        return self._task is not None and not self._task.done()

    @property
    def seconds(self) -> float:
        """How long the search under way has taken, which its weave does not count yet."""
        return time.monotonic() - self._started if self.running else 0.0

    def start(self, woven: Woven, source: Source) -> None:
        """Returns at once. Another search must have been stopped before."""
        self._woven, self._started = woven, time.monotonic()
        self._task = asyncio.get_running_loop().create_task(self._drive(woven, source))

    def stop(self) -> None:
        """End it; what it found stays. The caller is free at once."""
        if self._task is not None and self._woven is not None:
            self._task.cancel()
            # The cancelled task would let go of its questions only later.
            self._woven.weave.let_go()
            self._end(self._woven, Status("ready"))

    async def wait(self) -> None:
        """Until nothing is searched."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """End it, and wait until the source is let go."""
        task = self._task
        self.stop()
        if task is not None:
            await asyncio.gather(task, return_exceptions=True)

    async def _drive(self, woven: Woven, source: Source) -> None:
        status = Status("ready")
        try:
            if await self._settle(woven, source):
                self._changed()
            async for cost in drive(woven.weave, source):
                woven.cost += cost
                self._changed()
        except LltermError as error:
            status = Status("failed", error=error)
        except Exception as fault:
            log.exception("the weave failed")
            status = Status("failed", error=unforeseen("The weave failed", fault))
        self._end(woven, status)

    def _end(self, woven: Woven, status: Status) -> None:
        self._task = self._woven = None
        woven.seconds += time.monotonic() - self._started
        self._ended(status)
