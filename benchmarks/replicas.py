"""64 requests at once to replicas of one model, of which one is slow and one dies.

The replicas are stand-ins that take a fixed time and answer four requests at a time, so that the
figures are the pool's and not those of a model on this machine.
"""

from __future__ import annotations

import asyncio
import time
from asyncio import StreamWriter
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from benchmarks.rows import Row, percentile
from llterm.backends.remote.http_transport import HttpTransport
from llterm.config.server_settings import ServerSettings
from tests.helpers.faulty_server import FaultyServer, Request, cut, reply

REQUESTS = 64
SLOTS = 4
FAST, SLOW = 0.02, 0.2
"""Seconds for one answer."""
LAST = 8
"""Answers of the replica that dies."""
ROUNDS = 5


@dataclass
class Replica:
    """A stand-in with slots; `answers` None: without end."""

    seconds: float
    answers: int | None = None
    given: Counter[int] = field(default_factory=Counter)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(SLOTS))

    async def __call__(self, request: Request, writer: StreamWriter) -> None:
        async with self._slots:
            await asyncio.sleep(self.seconds)
        if self.answers is not None and self.given.total() >= self.answers:
            await cut()(request, writer)
        number = request.data["n"]
        self.given[number] += 1
        await reply({"n": number})(request, writer)


@dataclass
class Run:
    """How one round went."""

    seconds: float
    waits: list[float]
    wrong: int
    """Answers that were lost, doubled, or another request's."""
    repeated: int


def measure() -> list[Row]:
    return asyncio.run(_measure())


async def _measure() -> list[Row]:
    single = [await _round(Replica(FAST)) for _ in range(ROUNDS)]
    three = [await _round(*[Replica(FAST) for _ in range(3)]) for _ in range(ROUNDS)]
    ill = [await _round(Replica(FAST), Replica(SLOW), Replica(FAST, LAST)) for _ in range(ROUNDS)]
    wrong = sum(run.wrong for run in (*single, *three, *ill))
    note = f"{sum(run.repeated for run in ill) / ROUNDS:.0f} requests repeated a round"
    return [
        *_rows("one replica", single),
        *_rows("three replicas", three),
        *_rows("three, one ten times slower, one dies", ill),
        Row("answers lost, doubled or mixed up", wrong, "", 0, note=note),
    ]


def _rows(name: str, runs: list[Run]) -> list[Row]:
    rate = percentile([REQUESTS / run.seconds for run in runs], 0.5)
    waits = [wait * 1000 for run in runs for wait in run.waits]
    note = f"p50 {percentile(waits, 0.5):.0f} ms, last {max(waits):.0f} ms"
    return [
        Row(f"64 requests to {name}", rate, "/s"),
        Row("  wait for an answer, p95", percentile(waits, 0.95), "ms", note=note),
    ]


async def _round(*replicas: Replica) -> Run:
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(FaultyServer(server)) for server in replicas]
        wire = HttpTransport(ServerSettings(tuple(server.url for server in servers)))
        start = time.perf_counter()
        waits: list[float] = []

        async def ask(number: int) -> bool:
            answer = await wire.post("/completion", {"n": number})
            waits.append(time.perf_counter() - start)
            return bool(answer.data == {"n": number})

        right = await asyncio.gather(*map(ask, range(REQUESTS)))
        seconds = time.perf_counter() - start
        given = sum((server.given for server in replicas), Counter[int]())
        wrong = right.count(False) + sum(given[number] != 1 for number in range(REQUESTS))
        retries = wire.spent.retries
        await wire.close()
        return Run(seconds, waits, wrong, retries)
