"""Autopilot: weave, take the most probable suggestion, and again, for a number of rounds.

A person's edit, a move of the cursor or a stop ends it; what was taken stays, a step each.
"""

from __future__ import annotations

from collections.abc import Callable

from llterm.errors import LltermError
from llterm.session.background_task import BackgroundTask, Reason
from llterm.session.cursor import Cursor
from llterm.session.manuscript import Change


class Autopilot:
    """Takes the best suggestion, round after round."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self.task = BackgroundTask("The autopilot failed", self._ended)
        self.left = 0
        """Rounds still to go; 0 when it rests."""
        self.landed: Callable[[Change], None] = lambda _: None
        """Told of each change of the story."""
        self.ended: Callable[[LltermError | str], None] = lambda _: None
        """Told why it ended before its time."""

    @property
    def running(self) -> bool:
        return self.task.running

    def start(self, rounds: int) -> None:
        """Returns at once. Raises LltermError where no model is ready."""
        self.stop()
        self._cursor.weave()
        self.left = rounds
        self.task.start(self._fly)
        self._cursor.changed()

    def stop(self) -> None:
        """End it, and the weave it waits for."""
        if self.task.stop():
            self.left = 0
            self._cursor.stop()
            self._cursor.changed()

    async def _fly(self) -> Reason:
        reason = ""
        while self.left and not reason:
            reason = await self._round()
            self.left -= 1
        return reason

    def _ended(self, reason: Reason) -> None:
        self.left = 0
        self._cursor.changed()
        if reason:
            self.ended(reason)

    async def _round(self) -> str:
        """Weave and take the best. Returns why no more can follow; empty where it can."""
        document = self._cursor.document
        revision, cursor = document.revision, document.cursor
        self._cursor.weave()
        await self._cursor.wait()
        if (document.revision, document.cursor) != (revision, cursor):
            return "the autopilot gave way to you"
        view = self._cursor.view
        best = view.suggestions[0] if view is not None and view.suggestions else None
        if best is None or not best.data:
            return "the model ends the text here"
        self.landed(self._cursor.accept(best.tail))
        return ""
