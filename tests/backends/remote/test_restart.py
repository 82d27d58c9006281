"""A server that goes away in mid-weave: what came is kept, the rest is asked anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from llterm.backends.remote.remote_backend import BREAKS, RemoteBackend
from llterm.backends.remote.server_connection import connect
from llterm.backends.remote.transport import BrokenOff
from llterm.config.server_settings import ServerSettings
from llterm.core.query import Cost, Fact, Query
from llterm.core.tokens import Anchor, Path, Tail
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from llterm.engine.weave import drive
from tests.helpers.faulty_server import FaultyServer, MakeWire
from tests.helpers.foreign_servers import open_foreign
from tests.helpers.little_model import cut as cut_tokens
from tests.helpers.served_model import ServedModel
from tests.helpers.server_process import Process

RULES = WeaveSettings(depth=5, beams=8, cutoff=0.25, heal=False)
"""By these no path ends inside a character: behind one single positions are asked for."""


async def opened(wire: MakeWire, url: str) -> RemoteBackend:
    backend = await connect("tiny", wire(url), ServerSettings((url,)), fresh=True)
    backend.client.pace = 10.0  # As a slow server, whose answers are streamed.
    return backend


async def best(backend: RemoteBackend) -> dict[Tail, float]:
    weave = Weave(backend.vocabulary, Anchor(cut_tokens(b"Once")), RULES)
    async for _ in drive(weave, backend):
        pass
    assert weave.done
    return {one.tail: one.logprob for one in weave.view().suggestions}


async def test_streams_that_break_off_leave_the_weave_as_it_would_be(wire: MakeWire) -> None:
    model = ServedModel()
    async with FaultyServer(model) as server:
        backend = await opened(wire, server.url)
        undisturbed = await best(backend)
        assert model.streamed
        for after in (1, 2, 3):
            again = await opened(wire, server.url)
            model.breaks, before = iter([after] * 3), model.streamed
            assert await best(again) == undisturbed
            assert model.streamed >= before + 3
            assert next(model.breaks, None) is None


async def test_what_came_before_the_break_is_not_asked_again(wire: MakeWire) -> None:
    model = ServedModel()
    async with FaultyServer(model) as server:
        backend = await opened(wire, server.url)
        anchor = Anchor(cut_tokens(b"Once the"))
        queries = [Query(Path(anchor, (id,)), ahead=2) for id in (3, 5)]
        # One empty event, three of the first line; then the second is asked alone.
        model.breaks, before = iter([4]), len(server.requests)
        answers = [answer async for answer in backend.ask(queries)]
        assert {one.path.tail for one in answers} >= {(3,), (5,)}
        assert len({one.path.tail for one in answers}) == len(answers)
        assert sum(one.cost.requests for one in answers if isinstance(one, Fact)) == 2
        first, second = (request.data["prompt"] for request in server.requests[before:])
        assert (len(first), second) == (2, [*anchor.tokens, 5])


async def test_a_server_that_always_breaks_off_is_given_up(wire: MakeWire) -> None:
    model = ServedModel()
    async with FaultyServer(model) as server:
        backend = await opened(wire, server.url)
        model.breaks, before = iter([1] * 99), model.streamed
        with pytest.raises(BrokenOff, match="broke off"):
            await best(backend)
        assert model.streamed - before == BREAKS + 1


@pytest.mark.server
@pytest.mark.parametrize("streamed", [True, False])
async def test_a_real_server_restarts_in_mid_weave(process: Process, streamed: bool) -> None:
    rules = WeaveSettings(depth=6, beams=10, heal=False)
    away = asyncio.Event()
    trees: list[dict[Tail, float]] = []
    for restarts in (False, True):
        remote = await open_foreign("fable", ServerSettings((process.address,)))
        remote.news.listen(away.set)
        remote.client.pace = 10.0 if streamed else 1e-4
        remote.policy = replace(remote.policy, width=4)
        ids = await remote.vocabulary.tokenize(b"Once upon a time there was a")
        weave = Weave(remote.vocabulary, Anchor(remote.vocabulary.prefix + ids), rules)
        costs = drive(weave, remote)
        await anext(costs)
        if restarts:
            process.kill()
            # A weave that is driven on meets a server that is away.
            driven = asyncio.create_task(_driven(costs))
            await away.wait()
            assert not driven.done()
            assert [one.address for one in remote.news.absences] == [process.address]
            await asyncio.to_thread(process.start)
            await driven
            assert remote.transport.spent.retries
            assert remote.news.absences == ()
            assert remote.news.returns == 1
        else:
            await _driven(costs)
        assert weave.done
        trees.append({one.tail: one.logprob for one in weave.view().suggestions})
        await remote.close()
    assert trees[1] == pytest.approx(trees[0], abs=0.02)


async def _driven(costs: AsyncIterator[Cost]) -> None:
    async for _ in costs:
        pass
