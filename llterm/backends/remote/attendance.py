"""Which of a model's replicas answer, as its requests find out; told to `ServerNews`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from llterm.backends.remote.pool import Clock, ReplicaPool, ReplicaState
from llterm.backends.remote.server_faults import ServerFault
from llterm.core.server_news import Absence, Cause, Phase, ServerNews

GRACE = 1.0
"""Seconds by which an attempt outlasts the failed one before it, and is taken for another case: a
server that refused at once and now takes its time is there, and works."""


@dataclass(eq=False, slots=True)
class _Failure:
    """What is held against a replica until it answers."""

    cause: Cause
    words: str
    patience: float
    since: float
    began: float
    """`ReplicaState.failing_since` of this run of failures, by the pool's clock."""
    took: float
    """Seconds of the last attempt."""
    fresh: bool = True
    """Nothing was asked, and nothing let go of, since this was found out."""
    final: bool = False
    """A request was given up."""


class Attendance:
    """Keeps what is held against each replica, and who waits for them."""

    def __init__(self, pool: ReplicaPool, clock: Clock, news: ServerNews) -> None:
        self._pool = pool
        self._clock = clock
        self._news = news
        self._failures: dict[ReplicaState, _Failure] = {}
        self._waiting = 0
        """Requests that have no answer yet."""

    @contextmanager
    def request(self) -> Iterator[None]:
        """A request, over all its attempts. Where nobody asked any more, what was found out earlier
        counts no longer."""
        if not self._waiting:
            for failure in self._failures.values():
                failure.fresh = failure.final = False
        self._waiting += 1
        self._tell()
        try:
            yield
        finally:
            self._waiting -= 1
            self._tell()

    @contextmanager
    def attempt(self, replica: ReplicaState) -> Iterator[None]:
        """One of a request's attempts: one that does not fail as the last one did says that the
        replica is there."""
        failure = self._failures.get(replica)
        if failure is None:
            yield
            return

        def outlasts() -> None:
            failure.fresh = False
            self._tell()

        later = asyncio.get_running_loop().call_later(GRACE + failure.took, outlasts)
        try:
            yield
        finally:
            later.cancel()

    def failed(self, replica: ReplicaState, fault: ServerFault, began: float) -> None:
        """An attempt that began then did not work; the pool knows already."""
        self._hold(replica, fault.kind, fault.words, self._pool.patience(fault).seconds, began)

    def refused(self, replica: ReplicaState, words: str, began: float) -> None:
        """It takes no requests with this key, or no safe connection: to wait would not help."""
        self._hold(replica, "refused", words, 0.0, began)
        self.give_up()

    def give_up(self) -> None:
        """A request is given up, and asked by nobody."""
        for failure in self._failures.values():
            failure.final = failure.fresh
        self._tell()

    def answered(self, replica: ReplicaState) -> None:
        """It is there."""
        if self._failures.pop(replica, None) is not None:
            self._tell()

    def _hold(
        self, replica: ReplicaState, cause: Cause, words: str, patience: float, began: float
    ) -> None:
        now, known = self._clock(), self._failures.get(replica)
        start = now if cause == "refused" else replica.failing_since
        since, final = self._news.now(), False
        if known is not None:
            final = known.final
            if cause == "refused" or known.began == start:
                since, start = known.since, known.began
        self._failures[replica] = _Failure(
            cause, words, patience, since, start, now - began, final=final
        )
        self._tell()

    def _phase(self, replica: ReplicaState, failure: _Failure) -> Phase:
        if len(self._failures) < len(self._pool.replicas):
            return "spared"
        if not failure.fresh:
            return "unknown"
        if self._waiting and failure.cause != "refused":
            # A failure that is made good for at once is not worth a word.
            return "waiting" if replica.ill else "unknown"
        return "given up" if failure.final else "unknown"

    def _tell(self) -> None:
        self._news.tell(
            [
                Absence(
                    self._news.model, replica.address, failure.cause, failure.words,
                    failure.since, failure.patience, self._phase(replica, failure),
                )
                for replica, failure in self._failures.items()
            ]
        )  # fmt: skip
