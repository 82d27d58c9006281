"""`Transport` over HTTP: turns, replicas, repeats where they can help, and the counter."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, TypeVar

from llterm.backends.remote.api_keys import Secret
from llterm.backends.remote.attendance import Attendance
from llterm.backends.remote.pool import Clock, ReplicaPool, ReplicaState, Sleep
from llterm.backends.remote.replica import Replica
from llterm.backends.remote.server_faults import PATIENCE, Kind, ServerFault, gave_up
from llterm.backends.remote.transport import (
    BrokenOff,
    Reply,
    RequestRefused,
    StreamTokenCount,
    TransportUsage,
    tokens_of,
)
from llterm.config.server_settings import ServerSettings
from llterm.core.json_text import json_text
from llterm.core.server_news import ServerNews
from llterm.errors import BackendUnavailable, LltermError

T = TypeVar("T")
PARALLEL = 4
"""Requests in flight for each address, until somebody knows better."""
FIRST_PAUSE, LONGEST_PAUSE, JITTER = 0.25, 8.0, 0.1
"""Seconds: pauses between attempts on the only replica double from the first to the longest, each a
little longer by chance, so that many clients do not come back together."""
_RESTED = frozenset(("unreached", "busy", "loading"))
"""Faults after which the replica rests at once, and has surely done nothing."""
_KEYLESS = (401, 403)
"""Refusals that are of the key, whatever is asked."""


@dataclass(eq=False)
class _RequestHistory:
    """One request, over all its attempts."""

    idempotent: bool = True
    """Asking twice does no harm."""
    attempts: int = 0
    tried: set[ReplicaState] = field(default_factory=set)
    faults: Counter[Kind] = field(default_factory=Counter)
    last: Kind | None = None

    def failed(self, state: ReplicaState, fault: ServerFault) -> None:
        self.tried.add(state)
        self.faults[fault.kind] += 1
        self.last = fault.kind


class HttpTransport:
    """The way to one model's replicas."""

    def __init__(
        self,
        settings: ServerSettings,
        key: Secret | None = None,
        news: ServerNews | None = None,
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Opens nothing yet, but takes some time for the HTTP library and its certificates.

        `news` are told which replicas do not answer, and which do again.
        """
        replicas = [Replica(url, settings, key) for url in settings.base_url]
        states = [ReplicaState(one.address) for one in replicas]
        self._settings = settings
        self.replicas = dict(zip(states, replicas, strict=True))
        """How each one is doing, and the way to it."""
        self._pool = ReplicaPool(
            states, settings.parallel or PARALLEL * len(replicas), clock, sleep
        )
        self._clock, self._sleep = clock, sleep
        self.news = ServerNews() if news is None else news
        self._attendance = Attendance(self._pool, clock, self.news)
        self._counts = Counter[str]()
        more = f" and {len(replicas) - 1} more" if len(replicas) > 1 else ""
        self.name = states[0].address + more

    async def get(self, path: str) -> Reply:
        return await self._asked("GET", path, None, _RequestHistory())

    async def post(self, path: str, body: Mapping[str, Any], *, idempotent: bool = True) -> Reply:
        return await self._asked("POST", path, _packed(body), _RequestHistory(idempotent))

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any]:
        packed = _packed(body)

        async def begin(replica: Replica) -> tuple[AsyncGenerator[Any], Any]:
            events = replica.events(path, packed)
            return events, await anext(events, None)

        began = self._clock()
        state, (events, first) = await self._repeated(begin, packed, _RequestHistory())
        tally = StreamTokenCount()
        try:
            async with aclosing(events):
                if first is not None:
                    self._count(*tally.new(first))
                    yield first
                async for event in events:
                    self._count(*tally.new(event))
                    yield event
        except ServerFault as fault:
            self._failed(state, fault, began)
            error = gave_up(fault, 1, begun=True)
            if not isinstance(error, BrokenOff):
                self._attendance.give_up()
            raise error from None
        except LltermError as error:
            raise _bare(error) from None
        finally:
            self._pool.release(state)

    @property
    def parallel(self) -> int:
        return self._pool.limit

    def set_parallel(self, count: int) -> None:
        self._pool.resize(count)

    @property
    def spent(self) -> TransportUsage:
        counts, settings = self._counts, self._settings
        prices = (settings.price_prompt, settings.price_answer)
        cost = None
        if prices != (None, None):
            tokens = (counts["prompt_tokens"], counts["answer_tokens"])
            cost = sum((price or 0.0) * n / 1e6 for price, n in zip(prices, tokens, strict=True))
        received = sum(one.bytes_received for one in self.replicas.values())
        return TransportUsage(**counts, bytes_received=received, cost=cost)

    async def close(self) -> None:
        self._pool.close(ServerFault("cut", self.name, "The connection was closed", final=True))
        for replica in self.replicas.values():
            await replica.close()

    async def _asked(
        self, method: str, path: str, body: bytes | None, history: _RequestHistory
    ) -> Reply:
        async def ask(replica: Replica) -> Reply:
            return await replica.ask(method, path, body)

        state, reply = await self._repeated(ask, body, history)
        self._pool.release(state)
        self._count(*tokens_of(reply.data))
        return reply

    async def _repeated(
        self,
        attempt: Callable[[Replica], Awaitable[T]],
        body: bytes | None,
        history: _RequestHistory,
    ) -> tuple[ReplicaState, T]:
        """Try until it works; the replica that answered is still leased then."""
        with self._attendance.request():
            while True:
                try:
                    return await self._once(attempt, body, history)
                except ServerFault as fault:
                    if not self._may_help(fault, history):
                        self._attendance.give_up()
                        raise gave_up(fault, history.attempts) from None
                await self._sleep(self._backoff(history))

    def _backoff(self, history: _RequestHistory) -> float:
        """Seconds before the next attempt: none where the pool has replicas rest, or another."""
        if history.last in _RESTED or self._pool.other_awake(history.tried):
            return 0.0
        doubled = FIRST_PAUSE * 2.0 ** min(history.attempts - 1, 10)
        return min(doubled + random.uniform(0.0, JITTER), LONGEST_PAUSE)

    async def _once(
        self,
        attempt: Callable[[Replica], Awaitable[T]],
        body: bytes | None,
        history: _RequestHistory,
    ) -> tuple[ReplicaState, T]:
        state = await self._pool.lease(history.tried)
        self._counts["requests"] += 1
        self._counts["retries"] += history.attempts > 0
        self._counts["bytes_sent"] += len(body or b"")
        history.attempts += 1
        began = self._clock()
        try:
            with self._attendance.attempt(state):
                result = await attempt(self.replicas[state])
        except ServerFault as fault:
            history.failed(state, fault)
            self._failed(state, fault, began)
            self._pool.release(state)
            raise
        except LltermError as error:
            if isinstance(error, BackendUnavailable):
                self._attendance.refused(state, error.cause.removesuffix("."), began)
            else:
                self._understood(state, error, began)
            self._pool.release(state)
            raise _bare(error) from None
        except BaseException:
            self._pool.release(state)
            raise
        self._pool.worked(state)
        self._attendance.answered(state)
        return state, result

    def _may_help(self, fault: ServerFault, history: _RequestHistory) -> bool:
        """Whether to ask again after this."""
        if fault.final:
            return False
        if not history.idempotent and fault.kind not in _RESTED:
            return False
        retries = PATIENCE[fault.kind].retries
        return retries is None or history.faults[fault.kind] < retries + len(self.replicas)

    def _understood(self, state: ReplicaState, error: LltermError, began: float) -> None:
        """It answered, though not with what was asked for."""
        self._pool.worked(state)
        if isinstance(error, RequestRefused) and error.status in _KEYLESS:
            self._attendance.refused(state, error.cause.removesuffix("."), began)
        else:
            self._attendance.answered(state)

    def _failed(self, state: ReplicaState, fault: ServerFault, began: float) -> None:
        self._pool.failed(state, fault, began)
        self._attendance.failed(state, fault, began)

    def _count(self, prompt: int, answer: int) -> None:
        self._counts["prompt_tokens"] += prompt
        self._counts["answer_tokens"] += answer


def _bare(error: LltermError) -> LltermError:
    """The error without the frames it came through: what they hold as local variables is the
    server's answer as it came, in which it may repeat the key."""
    return error.with_traceback(None)


def _packed(body: Mapping[str, Any]) -> bytes:
    return json_text(body, compact=True).encode()
