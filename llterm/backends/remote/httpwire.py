"""`Wire` over HTTP: turns, replicas, repeats where they can help, and the counter."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from llterm.backends.remote.faults import PATIENCE, Fault, Kind, gave_up
from llterm.backends.remote.keys import Secret
from llterm.backends.remote.news import Tell
from llterm.backends.remote.pool import Clock, Pool, Sleep, Standing
from llterm.backends.remote.replica import Replica
from llterm.backends.remote.usage import Tally, tokens_of
from llterm.backends.remote.wire import Reply, Spent
from llterm.config.server_settings import ServerSettings
from llterm.core.jsontext import json_text
from llterm.errors import BackendUnavailable, LltermError

if TYPE_CHECKING:
    from tenacity import RetryCallState

T = TypeVar("T")
PARALLEL = 4
"""Requests in flight for each address, until somebody knows better."""
_RESTED = frozenset(("unreached", "busy", "loading"))
"""Faults after which the replica rests at once, and has surely done nothing."""


@dataclass(eq=False)
class _Errand:
    """One request, over all its attempts."""

    idempotent: bool = True
    """Asking twice does no harm."""
    attempts: int = 0
    tried: set[Standing] = field(default_factory=set)
    faults: Counter[Kind] = field(default_factory=Counter)
    last: Kind | None = None

    def failed(self, standing: Standing, fault: Fault) -> None:
        self.tried.add(standing)
        self.faults[fault.kind] += 1
        self.last = fault.kind


class HttpWire:
    """The way to one model's replicas."""

    def __init__(
        self,
        settings: ServerSettings,
        key: Secret | None = None,
        tell: Tell | None = None,
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Opens nothing yet, but takes some time for the HTTP library and its certificates.

        `tell` hears a line when the server is away or loads its model, and an empty one when all is
        well again.
        """
        replicas = [Replica(url, settings, key) for url in settings.base_url]
        standings = [Standing(one.address) for one in replicas]
        self._settings = settings
        self._replicas = dict(zip(standings, replicas, strict=True))
        self._pool = Pool(standings, settings.parallel or PARALLEL * len(replicas), clock, sleep)
        self._clock, self._sleep = clock, sleep
        self._tell = tell or (lambda _: None)
        self._told = False
        self.away = ""
        self._counts = Counter[str]()
        more = f" and {len(replicas) - 1} more" if len(replicas) > 1 else ""
        self.name = standings[0].address + more

    async def get(self, path: str) -> Reply:
        return await self._asked("GET", path, None, _Errand())

    async def post(self, path: str, body: Mapping[str, Any], *, idempotent: bool = True) -> Reply:
        return await self._asked("POST", path, _packed(body), _Errand(idempotent))

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any]:
        packed = _packed(body)

        async def begin(replica: Replica) -> tuple[AsyncGenerator[Any], Any]:
            events = replica.events(path, packed)
            return events, await anext(events, None)

        began = self._clock()
        standing, (events, first) = await self._repeated(begin, packed, _Errand())
        tally = Tally()
        try:
            async with aclosing(events):
                if first is not None:
                    self._count(*tally.new(first))
                    yield first
                async for event in events:
                    self._count(*tally.new(event))
                    yield event
        except Fault as fault:
            self._pool.failed(standing, fault, began)
            raise gave_up(fault, 1, begun=True) from None
        except LltermError as error:
            raise _bare(error) from None
        finally:
            self._pool.release(standing)

    @property
    def parallel(self) -> int:
        return self._pool.limit

    def set_parallel(self, count: int) -> None:
        self._pool.resize(count)

    @property
    def replicas(self) -> tuple[Standing, ...]:
        """How each replica is doing."""
        return tuple(self._replicas)

    @property
    def spent(self) -> Spent:
        counts, settings = self._counts, self._settings
        prices = (settings.price_prompt, settings.price_answer)
        cost = None
        if prices != (None, None):
            tokens = (counts["prompt_tokens"], counts["answer_tokens"])
            cost = sum((price or 0.0) * n / 1e6 for price, n in zip(prices, tokens, strict=True))
        received = sum(one.bytes_received for one in self._replicas.values())
        return Spent(**counts, bytes_received=received, cost=cost)

    async def close(self) -> None:
        self._pool.close(Fault("cut", self.name, "The connection was closed", final=True))
        for replica in self._replicas.values():
            await replica.close()

    async def _asked(self, method: str, path: str, body: bytes | None, errand: _Errand) -> Reply:
        async def ask(replica: Replica) -> Reply:
            return await replica.ask(method, path, body)

        standing, reply = await self._repeated(ask, body, errand)
        self._pool.release(standing)
        self._count(*tokens_of(reply.data))
        return reply

    async def _repeated(
        self, attempt: Callable[[Replica], Awaitable[T]], body: bytes | None, errand: _Errand
    ) -> tuple[Standing, T]:
        """Try until it works; the replica that answered is still leased then."""
        from tenacity import AsyncRetrying, retry_if_exception, wait_exponential_jitter

        backoff = wait_exponential_jitter(multiplier=0.25, max=8.0, jitter=0.1)

        def wait(state: RetryCallState) -> float:
            rests = errand.last in _RESTED or self._pool.other_awake(errand.tried)
            return 0.0 if rests else backoff(state)

        repeats = AsyncRetrying(
            retry=retry_if_exception(lambda error: self._may_help(error, errand)),
            wait=wait,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return await repeats(self._once, attempt, body, errand)
        except Fault as fault:
            raise gave_up(fault, errand.attempts) from None

    async def _once(
        self, attempt: Callable[[Replica], Awaitable[T]], body: bytes | None, errand: _Errand
    ) -> tuple[Standing, T]:
        standing = await self._pool.lease(errand.tried)
        self._counts["requests"] += 1
        self._counts["retries"] += errand.attempts > 0
        self._counts["bytes_sent"] += len(body or b"")
        errand.attempts += 1
        began = self._clock()
        try:
            result = await attempt(self._replicas[standing])
        except Fault as fault:
            errand.failed(standing, fault)
            self._pool.failed(standing, fault, began)
            self._say_away(fault)
            self._pool.release(standing)
            raise
        except LltermError as error:
            if not isinstance(error, BackendUnavailable):
                self._works(standing)
            self._pool.release(standing)
            raise _bare(error) from None
        except BaseException:
            self._pool.release(standing)
            raise
        self._works(standing)
        return standing, result

    def _may_help(self, error: BaseException, errand: _Errand) -> bool:
        """Whether to ask again after this."""
        if not isinstance(error, Fault) or error.final:
            return False
        if not errand.idempotent and error.kind not in _RESTED:
            return False
        retries = PATIENCE[error.kind].retries
        return retries is None or errand.faults[error.kind] < retries + len(self._replicas)

    def _works(self, standing: Standing) -> None:
        self._pool.worked(standing)
        self.away = ""
        if self._told:
            self._told = False
            self._tell("")

    def _say_away(self, fault: Fault) -> None:
        if fault.kind not in _RESTED or self._pool.other_awake(()):
            return
        if fault.kind != "busy":
            self.away = f"{fault.address}: {fault.words}"
        if not fault.final:
            self._told = True
            seconds = self._pool.patience(fault).seconds
            self._tell(f"{fault.words}; asking again for {seconds:.0f} s: {fault.address}")

    def _count(self, prompt: int, answer: int) -> None:
        self._counts["prompt_tokens"] += prompt
        self._counts["answer_tokens"] += answer


def _bare(error: LltermError) -> LltermError:
    """The error without the frames it came through: what they hold as local variables is the
    server's answer as it came, in which it may repeat the key."""
    return error.with_traceback(None)


def _packed(body: Mapping[str, Any]) -> bytes:
    return json_text(body, compact=True).encode()
