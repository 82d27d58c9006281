"""From the session to the screen: any number of changes, at most nine messages a second."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from textual.timer import Timer
from textual.widget import Widget

from llterm.session.session import Session
from llterm.ui.messages import SessionChanged

INTERVAL = 0.12
"""Seconds between two messages: what an eye can use, and a slow line can carry."""


class Bridge:
    """Tells a widget that the session changed: the first time at once, then at an even pace."""

    def __init__(self, session: Session, target: Widget) -> None:
        self._target = target
        self._timer: Timer | None = None
        self._last = 0.0
        self._end: Callable[[], None] = session.listen(self._changed)

    def close(self) -> None:
        """Stop listening."""
        self._end()
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    def _changed(self) -> None:
        if self._timer is not None:
            return
        wait = self._last + INTERVAL - monotonic()
        if wait <= 0:
            self._post()
        else:
            self._timer = self._target.set_timer(wait, self._post)

    def _post(self) -> None:
        self._timer = None
        self._last = monotonic()
        self._target.post_message(SessionChanged())
