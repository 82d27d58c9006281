"""Replicas, turns and cancellation: nothing is lost, nothing is done twice, nothing hangs."""

from __future__ import annotations

import asyncio
from asyncio import StreamWriter
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.backends.remote.pool import ReplicaPool, ReplicaState
from llterm.backends.remote.server_faults import ServerFault
from llterm.errors import BackendUnavailable
from tests.helpers.fake_clock import Clock
from tests.helpers.faulty_server import (
    FaultyServer,
    MakeWire,
    Request,
    Step,
    cut,
    events,
    hang,
    held,
    loading,
    raw,
    reply,
    status,
)


async def echo(request: Request, writer: StreamWriter) -> None:
    await reply({"n": request.data["n"]})(request, writer)


def after(count: int, then: Step) -> list[Step]:
    """So many good answers, then this."""
    return [*[echo] * count, then]


async def test_64_requests_over_three_replicas_of_which_one_is_slow_and_one_dies(
    wire: MakeWire,
) -> None:
    gate = asyncio.Event()
    async with (
        FaultyServer(echo) as good,
        FaultyServer(held(gate, echo)) as slow,
        FaultyServer(*after(5, cut())) as dying,
    ):
        transport = wire(good.url, slow.url, dying.url, parallel=12)
        asked = [asyncio.create_task(transport.post("/completion", {"n": n})) for n in range(64)]
        left = asked
        while len(left) > len(slow.requests):
            await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            left = [task for task in asked if not task.done()]
        assert len(left) == 4, "what the slow one holds does not hold the rest"
        gate.set()
        answers = await asyncio.gather(*asked)
        assert [answer.data["n"] for answer in answers] == list(range(64))
        assert Counter(answer.replica for answer in answers)[slow.url] == len(left)
        answered = Counter(request.data["n"] for request in (*good.requests, *slow.requests))
        answered.update(request.data["n"] for request in dying.requests[:5])
        assert answered == Counter(range(64)), "each was answered once"
        lost = len(dying.requests) - 5
        assert transport.spent.retries == lost
        assert transport.spent.requests == 64 + lost
        assert {standing.address: standing.answered for standing in transport.replicas} == {
            good.url: 59 - len(left), slow.url: len(left), dying.url: 5,
        }  # fmt: skip


async def test_a_replica_that_failed_rests_and_comes_back(wire: MakeWire, clock: Clock) -> None:
    async with FaultyServer(echo) as good, FaultyServer(status(429, Retry_After="20"), echo) as bad:
        transport = wire(bad.url, good.url)
        for n in range(10):
            assert (await transport.post("/completion", {"n": n})).replica == good.url
        assert len(bad.requests) == 1
        assert not clock.slept, "another replica answers at once"
        clock.now += 21
        assert (await transport.post("/completion", {"n": 10})).replica == bad.url
        assert next(iter(transport.replicas)).failures == 0


async def test_requests_go_where_fewest_are_in_flight(wire: MakeWire) -> None:
    gate = asyncio.Event()
    async with FaultyServer(held(gate, echo)) as first, FaultyServer(held(gate, echo)) as second:
        transport = wire(first.url, second.url, parallel=6)
        asked = [asyncio.create_task(transport.post("/completion", {"n": n})) for n in range(6)]
        await asyncio.gather(first.until(3), second.until(3))
        assert (len(first.requests), len(second.requests)) == (3, 3)
        assert [standing.busy for standing in transport.replicas] == [3, 3]
        gate.set()
        await asyncio.gather(*asked)
        assert [standing.busy for standing in transport.replicas] == [0, 0]


async def test_parallelism_can_be_changed_while_requests_wait(wire: MakeWire) -> None:
    gate = asyncio.Event()
    async with FaultyServer(held(gate, echo)) as server:
        transport = wire(server.url, parallel=2)
        asked = [asyncio.create_task(transport.post("/completion", {"n": n})) for n in range(9)]

        async def in_flight(count: int) -> None:
            await server.until(count)
            for _ in range(20):
                await asyncio.sleep(0)
            assert len(server.requests) == count

        await in_flight(2)
        transport.set_parallel(5)
        await in_flight(5)
        transport.set_parallel(0)
        assert transport.parallel == 1
        gate.set()
        assert len(await asyncio.gather(*asked)) == 9


async def test_cancelling_closes_the_connection_and_sends_nothing_that_waits(
    wire: MakeWire,
) -> None:
    async with FaultyServer(hang(), echo) as server:
        transport = wire(server.url, parallel=1)
        asked = [asyncio.create_task(transport.post("/completion", {"n": n})) for n in range(5)]
        await asyncio.wait_for(server.until(1), 5)
        for task in asked:
            task.cancel()
        assert all(isinstance(error, asyncio.CancelledError)
                   for error in await asyncio.gather(*asked, return_exceptions=True))  # fmt: skip
        await asyncio.wait_for(server.left.wait(), 5)
        assert len(server.requests) == 1
        assert (await transport.post("/completion", {"n": 7})).data == {"n": 7}
        assert transport.spent.retries == 0


async def test_a_stream_that_is_left_closes_the_connection(wire: MakeWire) -> None:
    begun = events({"n": 1}, {"n": 2}, done=False, end=False)
    async with FaultyServer(hang(begun), echo) as server:
        transport = wire(server.url, parallel=1)
        stream = transport.stream("/completion", {})
        assert await anext(stream) == {"n": 1}
        await stream.aclose()
        await asyncio.wait_for(server.left.wait(), 5)
        assert (await transport.post("/completion", {"n": 7})).data == {"n": 7}


async def test_cancelling_while_the_server_is_away(wire: MakeWire, clock: Clock) -> None:
    async with FaultyServer(loading()) as server:
        transport = wire(server.url)
        asked = asyncio.create_task(transport.post("/completion", {}))
        async with clock.halted(1050):
            asked.cancel()
            with suppress(asyncio.CancelledError):
                await asked
        server.then(echo)
        assert (await transport.post("/completion", {"n": 1})).data == {"n": 1}


async def test_closing_ends_what_is_in_flight_and_what_waits(wire: MakeWire) -> None:
    async with FaultyServer(hang()) as server:
        transport = wire(server.url, parallel=1)
        asked = [asyncio.create_task(transport.post("/completion", {"n": n})) for n in range(3)]
        await asyncio.wait_for(server.until(1), 5)
        await transport.close()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(error) for error in found] == [BackendUnavailable] * 3
        with pytest.raises(BackendUnavailable):
            await transport.get("/props")
        await asyncio.wait_for(server.left.wait(), 5)


async def test_a_replica_on_trial_gets_one_request(wire: MakeWire, clock: Clock) -> None:
    gate = asyncio.Event()
    async with FaultyServer(*[status(503)] * 8, held(gate, echo)) as server:
        one = wire(server.url, parallel=8)
        asked = [asyncio.create_task(one.post("/completion", {"n": n})) for n in range(8)]
        await server.until(9)
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(server.requests) == 9, "eight failed together, one tries again"
        gate.set()
        assert len(await asyncio.gather(*asked)) == 8
        assert len(server.requests) == 16


async def test_a_stream_counts_as_in_flight_until_it_ends(wire: MakeWire) -> None:
    async with FaultyServer(raw(events({"n": 1}, {"n": 2}))) as server:
        transport = wire(server.url)
        stream = transport.stream("/completion", {})
        await anext(stream)
        assert next(iter(transport.replicas)).busy == 1
        assert [event async for event in stream] == [{"n": 2}]
        assert next(iter(transport.replicas)).busy == 0


KINDS = st.sampled_from(["unreached", "slow", "cut", "busy", "loading", "failed", "", ""])


@settings(max_examples=60)
@given(
    limit=st.integers(1, 6),
    ends=st.lists(st.tuples(KINDS, st.booleans(), st.integers(0, 3)), max_size=40),
)
async def test_turns_are_given_back_whatever_happens(
    limit: int, ends: list[tuple[str, bool, int]]
) -> None:
    """`ends`: how each request ends (no kind: well), whether it is cancelled, how long it takes."""
    clock = Clock()
    pool = ReplicaPool([ReplicaState("a"), ReplicaState("b")], limit, clock, clock.sleep)
    most = 0

    async def use(kind: str, turns: int) -> None:
        nonlocal most
        standing = await pool.lease()
        began = clock()
        most = max(most, sum(replica.busy for replica in pool.replicas))
        try:
            for _ in range(turns):
                await asyncio.sleep(0)
            if kind:
                pool.failed(standing, ServerFault(kind, "a", "words"), began)  # type: ignore[arg-type]
            else:
                pool.worked(standing)
        finally:
            pool.release(standing)

    tasks = [asyncio.create_task(use(kind, turns)) for kind, _, turns in ends]
    await asyncio.sleep(0)
    for task, (_, cancelled, _) in zip(tasks, ends, strict=True):
        if cancelled:
            task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(error is None or isinstance(error, ServerFault | asyncio.CancelledError)
               for error in results)  # fmt: skip
    assert most <= limit
    assert [replica.busy for replica in pool.replicas] == [0, 0]
    pool.close(ServerFault("cut", "a", "end"))
