"""Driving a weave from a source: answers, refusals, cancelling."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from llterm.backends.scripted import ScriptedBackend
from llterm.core.query import Cost, Fact, Failed, Query
from llterm.core.tokens import Anchor
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from llterm.engine.weave import drive
from llterm.errors import BackendUnavailable, LltermError


def begin(source: ScriptedBackend, text: str = "The maker went to the", depth: int = 10) -> Weave:
    vocabulary = source.vocabulary
    anchor = Anchor(vocabulary.prefix + vocabulary.encode(text.encode()))
    return Weave(vocabulary, anchor, WeaveSettings(depth=depth))


async def test_it_runs_to_the_end_and_counts_what_it_took() -> None:
    source = ScriptedBackend()
    weave = begin(source)
    costs = [cost async for cost in drive(weave, source)]
    assert weave.done
    assert len(weave.view().suggestions) == weave.rules.beams
    total = sum(costs, Cost())
    assert total == source.spent
    assert total.decodes == len(costs)


async def test_two_runs_give_the_same() -> None:
    views = []
    for _ in range(2):
        source = ScriptedBackend()
        weave = begin(source)
        async for _ in drive(weave, source):
            pass
        views.append(weave.view())
    assert views[0] == views[1]


async def test_cancelled_and_gone_on_with_it_ends_the_same() -> None:
    gate = asyncio.Event()
    calls = 0

    async def pace() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            gate.set()
            await asyncio.Event().wait()

    source = ScriptedBackend(pace)
    weave = begin(source)

    async def run() -> None:
        async for _ in drive(weave, source):
            pass

    task = asyncio.create_task(run())
    await gate.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not weave.done
    await run()
    fresh_source = ScriptedBackend()
    fresh = begin(fresh_source)
    async for _ in drive(fresh, fresh_source):
        pass
    assert weave.view() == fresh.view()
    assert len(weave.facts) <= len(fresh.facts) + 64


class Refusing(ScriptedBackend):
    """Cannot see past a few tokens, as at the end of a context."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        for query in queries:
            if len(query.path.tail) > self.most:
                yield Failed(query.path, LltermError("The context is full"))
            else:
                async for answer in super().ask([query]):
                    yield answer


async def test_branches_that_cannot_go_on_stay_open_and_the_error_comes_last() -> None:
    source = Refusing(3)
    weave = begin(source)
    with pytest.raises(LltermError, match="context is full"):
        async for _ in drive(weave, source):
            pass
    finishes = {suggestion.finish for suggestion in weave.view().suggestions}
    assert "open" in finishes
    assert "stop" in finishes


class Dead(ScriptedBackend):
    """A source that is gone."""

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        raise BackendUnavailable("The server is gone")
        yield


async def test_a_dead_source_is_an_error_at_once_and_the_weave_can_go_on_elsewhere() -> None:
    weave = begin(ScriptedBackend())
    with pytest.raises(BackendUnavailable):
        async for _ in drive(weave, Dead()):
            pass
    async for _ in drive(weave, ScriptedBackend()):
        pass
    assert weave.done
