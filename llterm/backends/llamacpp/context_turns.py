"""Whose turn it is on a context that several jobs share. Pure: no thread, no clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

TURN = 0.5
"""Seconds that a job has the context while others wait; it goes on to the end of its decode."""
APART = 2
"""Most jobs under way that hold a context of their own: each takes memory while it waits."""

Job = TypeVar("Job")


class ContextTurns(Generic[Job]):
    """Jobs begin in the order in which they came, and have one turn after the other.

    Who has not begun goes before who has, so that a short question does not wait for as many turns
    as there are long ones; but after a turn's time of comers one of those has its turn.
    """

    def __init__(self) -> None:
        self._comers: deque[Job] = deque()
        self._paused: deque[Job] = deque()
        """Those that have begun, in the order in which they gave way."""
        self._apart: set[Job] = set()
        """Those that hold a context of their own once they have begun."""
        self._begun: set[Job] = set()
        self._current: Job | None = None
        self._since = 0.0
        self._comers_had = 0.0
        """Seconds that comers had since one of those that have begun went on, which wait."""

    def __iter__(self) -> Iterator[Job]:
        """All that have not left."""
        yield from (*self._comers, *self._paused)
        if self._current is not None:
            yield self._current

    def join(self, job: Job, *, apart: bool = False) -> None:
        """Let it wait for a turn. `apart`: it works in a context of its own."""
        self._comers.append(job)
        if apart:
            self._apart.add(job)

    def next(self, now: float) -> Job | None:
        """Whose turn it is, from now on; None where nobody waits. Nobody has one."""
        comer = self._next_comer()
        if self._paused and (comer is None or self._comers_had >= TURN):
            self._current = self._paused.popleft()
            self._comers_had = 0.0
        elif comer is not None:
            self._comers.remove(comer)
            self._current = comer
        self._since = now
        return self._current

    @property
    def crowded(self) -> bool:
        """Whether somebody waits for whom the context could be free."""
        return bool(self._paused) or self._next_comer() is not None

    def gives_way(self, now: float) -> bool:
        """Whether the turn is over."""
        return now - self._since >= TURN and self.crowded

    def pause(self, now: float) -> None:
        """It waits for its next turn."""
        job = self._end_turn(now)
        self._begun.add(job)
        self._paused.append(job)

    def end(self, now: float) -> None:
        """It has ended."""
        self._forget(self._end_turn(now))

    def leave(self, job: Job) -> bool:
        """It waits no more. Returns whether it had begun; False too where it is its turn, or where
        it is not here."""
        begun = job in self._paused
        for waiting in (self._comers, self._paused):
            if job in waiting:
                waiting.remove(job)
                self._forget(job)
        return begun

    def _next_comer(self) -> Job | None:
        held = len(self._apart & self._begun) + (self._current in self._apart - self._begun)
        full = held >= APART
        return next((job for job in self._comers if not full or job not in self._apart), None)

    def _end_turn(self, now: float) -> Job:
        job, self._current = self._current, None
        assert job is not None
        if self._paused and job not in self._begun:
            self._comers_had += now - self._since
        return job

    def _forget(self, job: Job) -> None:
        self._apart.discard(job)
        self._begun.discard(job)
