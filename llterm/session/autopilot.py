"""Autopilot: weave, take the most probable suggestion, and again, for a number of rounds.

A person's edit, a move of the cursor or a stop ends it; what was taken stays, a step each.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from llterm.core.suggestion_tree import View
from llterm.core.tokens import Tail
from llterm.errors import LltermError
from llterm.session.changes import Change
from llterm.session.document import Document
from llterm.session.refusals import unforeseen

log = logging.getLogger(__name__)


class Host(Protocol):
    """What the autopilot needs of a session."""

    @property
    def document(self) -> Document: ...

    @property
    def view(self) -> View | None: ...

    def weave(self) -> None: ...

    def stop(self) -> None: ...

    async def wait(self) -> None: ...

    def accept(self, tail: Tail) -> Change: ...


class Autopilot:
    """Takes the best suggestion, round after round."""

    def __init__(self, host: Host, changed: Callable[[], None]) -> None:
        self._host = host
        self._changed = changed
        self._task: asyncio.Task[None] | None = None
        self.left = 0
        """Rounds still to go; 0 when it rests."""
        self.landed: Callable[[Change], None] = lambda _: None
        """Told of each change of the story."""
        self.ended: Callable[[LltermError | str], None] = lambda _: None
        """Told why it ended before its time."""

    @property
    def running(self) -> bool:
        return self._task is not None

    def start(self, rounds: int) -> None:
        """Returns at once. Raises LltermError where no model is ready."""
        self.stop()
        self._host.weave()
        self.left = rounds
        self._task = asyncio.get_running_loop().create_task(self._fly())
        self._changed()

    def stop(self) -> None:
        """End it, and the weave it waits for."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
            self.left = 0
            self._host.stop()
            self._changed()

    async def wait(self) -> None:
        """Until it rests."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _fly(self) -> None:
        reason: LltermError | str = ""
        try:
            while self.left and not reason:
                reason = await self._round()
                self.left -= 1
        except LltermError as error:
            reason = error
        except Exception as fault:
            log.exception("the autopilot failed")
            reason = unforeseen("The autopilot failed", fault)
        self._task, self.left = None, 0
        self._changed()
        if reason:
            self.ended(reason)

    async def _round(self) -> str:
        """Weave and take the best; why no more can follow, or nothing."""
        document = self._host.document
        revision, cursor = document.revision, document.cursor
        self._host.weave()
        await self._host.wait()
        if (document.revision, document.cursor) != (revision, cursor):
            return "the autopilot gave way to you"
        view = self._host.view
        best = view.suggestions[0] if view is not None and view.suggestions else None
        if best is None or not best.data:
            return "the model ends the text here"
        self.landed(self._host.accept(best.tail))
        return ""
