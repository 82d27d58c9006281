"""From the session to the screen: any number of changes, a few messages a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Protocol

from textual.timer import Timer
from textual.widget import Widget

from llterm.ui.messages import SessionChanged

INTERVAL = 0.12
"""Seconds between two messages: what an eye can use, and a slow line can carry."""
SHARE = 0.05
"""Most of the time that goes into showing changes: a key that is pressed meanwhile has to wait."""


class Observable(Protocol):
    """A session, or what else tells of its changes."""

    def listen(self, callback: Callable[[], None]) -> Callable[[], None]: ...


class Bridge:
    """Tells a widget that the session changed: the first time at once, then at an even pace.

    A large tree takes long to draw and is drawn less often; the last change is always told.
    """

    def __init__(self, session: Observable, target: Widget) -> None:
        self._target = target
        self._timer: Timer | None = None
        self._last = 0.0
        self._interval = INTERVAL
        self._end: Callable[[], None] = session.listen(self._changed)

    @property
    def waiting(self) -> bool:
        """Whether a change is still to be told."""
        return self._timer is not None

    def close(self) -> None:
        """Stop listening."""
        self._end()
        if self._timer is not None:
            self._timer.stop()
            self._timer = None

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Time what the widget does about a message."""
        start = monotonic()
        yield
        self._interval = max(INTERVAL, (monotonic() - start) / SHARE)

    def _changed(self) -> None:
        if self.waiting:
            return
        wait = self._last + self._interval - monotonic()
        if wait <= 0:
            self._post()
        else:
            self._timer = self._target.set_timer(wait, self._post)

    def _post(self) -> None:
        self._timer = None
        self._last = monotonic()
        self._target.post_message(SessionChanged())
