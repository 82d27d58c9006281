"""Several replicas of one model: whose turn it is, which one is least busy, which one rests.

A replica that fails rests, each time longer, and comes back with a single request on trial. The
rests are shared by all requests: while a server is away nobody hammers at it. When no replica has
answered for as long as the last fault deserves patience, everyone who waits is told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from llterm.backends.remote.server_faults import PATIENCE, STRANGER, Kind, RetryPolicy, ServerFault

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]

_RESTS: dict[Kind, tuple[int, float, float]] = {
    "unreached": (1, 0.25, 4.0),
    "slow": (1, 1.0, 30.0),
    "cut": (2, 0.25, 8.0),
    "busy": (1, 1.0, 16.0),
    "loading": (1, 0.5, 2.0),
    "failed": (3, 0.5, 8.0),
}
"""From which failure in a row on a replica rests, for how long first, and at most (seconds)."""
_APART = 30.0
"""Seconds of the longest rest while another replica answers: each trial keeps a request waiting."""
_FORGOTTEN = 60.0
"""Seconds without a request after which a failure says nothing about the next one."""


@dataclass(eq=False, slots=True)
class ReplicaState:
    """How one replica is doing."""

    address: str
    busy: int = 0
    """Requests in flight."""
    answered: int = 0
    failures: int = 0
    """In a row."""
    failing_since: float = 0.0
    failed_at: float = 0.0
    ill: bool = False
    """It rested, and has not answered since: it gets one request at a time."""
    rests_until: float = 0.0


@dataclass(eq=False, slots=True)
class _Waiting:
    turn: asyncio.Future[ReplicaState]
    avoid: Collection[ReplicaState]


@dataclass(eq=False)
class ReplicaPool:
    """Leases replicas, at most `limit` at once over all of them, to each its share of that."""

    replicas: Sequence[ReplicaState]
    limit: int
    clock: Clock
    sleep: Sleep
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _alarm: asyncio.Task[None] | None = None
    _alarm_at: float = 0.0
    _closed: ServerFault | None = None

    async def lease(self, avoid: Collection[ReplicaState] = ()) -> ReplicaState:
        """The replica for one request, in the order of asking; to be given back by `release`.

        `avoid`: taken only where no other is awake. Raises a final Fault when none has answered for
        too long.
        """
        if self._closed is not None:
            raise replace(self._closed)
        waiting = _Waiting(asyncio.get_running_loop().create_future(), avoid)
        self._waiting.append(waiting)
        self._grant()
        try:
            return await waiting.turn
        except asyncio.CancelledError:
            if waiting.turn.done() and not waiting.turn.cancelled():
                with suppress(ServerFault):
                    self.release(waiting.turn.result())
            raise

    def release(self, replica: ReplicaState) -> None:
        """The request is over, however it ended."""
        replica.busy -= 1
        self._grant()

    def worked(self, replica: ReplicaState) -> None:
        """It answered."""
        replica.answered += 1
        replica.failures = 0
        replica.ill = False
        replica.rests_until = 0.0

    def failed(self, replica: ReplicaState, fault: ServerFault, began: float) -> None:
        """It did not, asked at `began`. Lets it rest, and tells everyone who waits when it is
        enough."""
        now = self.clock()
        if not replica.failures or began - replica.failed_at > _FORGOTTEN:
            replica.failures = 0
            replica.failing_since = now
        replica.failures += 1
        replica.failed_at = now
        first, shortest, longest = _RESTS[fault.kind]
        if any(not one.failures for one in self.replicas):
            longest = _APART
        if replica.failures >= first:
            rest = min(shortest * 2.0 ** min(replica.failures - first, 10), longest)
            replica.ill = True
            replica.rests_until = max(replica.rests_until, now + max(rest, fault.wait or 0.0))
        if not self._has_hope(fault):
            fault.final = True
            self._dismiss(fault)

    def other_awake(self, tried: Collection[ReplicaState]) -> bool:
        """Whether a replica that was not tried yet could answer now."""
        now = self.clock()
        return any(one.rests_until <= now for one in self.replicas if one not in tried)

    def _has_hope(self, fault: ServerFault) -> bool:
        """Whether a replica may answer before this fault's patience is at its end."""
        if any(not replica.failures for replica in self.replicas):
            return True
        began = max(replica.failing_since for replica in self.replicas)
        soonest = max(self.clock(), min(replica.rests_until for replica in self.replicas))
        return soonest - began <= self.patience(fault).seconds

    def resize(self, limit: int) -> None:
        self.limit = max(limit, 1)
        self._grant()

    def close(self, fault: ServerFault) -> None:
        """Nobody gets a turn any more."""
        self._closed = fault
        self._dismiss(fault)
        if self._alarm is not None:
            self._alarm.cancel()

    def patience(self, fault: ServerFault) -> RetryPolicy:
        """How long this fault is borne."""
        known = any(one.answered for one in self.replicas)
        return STRANGER if fault.kind == "unreached" and not known else PATIENCE[fault.kind]

    def _dismiss(self, fault: ServerFault) -> None:
        for replica in self.replicas:
            # The next one who asks need not wait.
            replica.rests_until = 0.0
        while self._waiting:
            turn = self._waiting.popleft().turn
            if not turn.done():
                turn.set_exception(replace(fault, final=True))

    def _grant(self) -> None:
        """Give out what turns there are."""
        while self._waiting and sum(one.busy for one in self.replicas) < self.limit:
            waiting = self._waiting[0]
            if waiting.turn.done():
                self._waiting.popleft()
                continue
            replica = self._least_busy(waiting.avoid)
            if replica is None:
                self._wake_later()
                return
            self._waiting.popleft()
            replica.busy += 1
            waiting.turn.set_result(replica)

    def _least_busy(self, avoid: Collection[ReplicaState]) -> ReplicaState | None:
        now = self.clock()
        # A slow one holds no more than its share; where one is away, the others have no more room.
        share = -(-self.limit // len(self.replicas))
        awake = [
            replica
            for replica in self.replicas
            if (
                replica.busy < share
                if not replica.ill
                else replica.rests_until <= now and not replica.busy
            )
        ]
        return min(awake, key=lambda replica: (replica in avoid, replica.busy), default=None)

    def _wake_later(self) -> None:
        """Look again when the first rest is over; a request on trial wakes everyone as it ends."""
        rests = [one.rests_until for one in self.replicas if not one.busy]
        if not rests:
            return
        at = min(rests)
        if self._alarm is not None:
            if self._alarm_at == at:
                return
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = asyncio.create_task(self._wake(at))

    async def _wake(self, at: float) -> None:
        await self.sleep(max(at - self.clock(), 0.0))
        self._alarm = None
        self._grant()
