"""What is known of a server's addresses, as its requests find out: `ServerNews` of real wires."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from llterm.backends.remote import attendance
from llterm.backends.remote.transport import RequestRefused
from llterm.core.server_news import Absence, Cause, Phase, ServerNews
from llterm.errors import BackendUnavailable
from tests.helpers.fake_clock import Clock
from tests.helpers.faulty_server import (
    FaultyServer,
    MakeWire,
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
from tests.helpers.polling import until

OK = reply({"content": "fine"})
NOON = 1_800_000_000.0


class Heard:
    """News whose every change is kept."""

    def __init__(self) -> None:
        self.news = ServerNews("tiny", now=lambda: NOON)
        self.told: list[tuple[Absence, ...]] = []
        self.news.listen(lambda: self.told.append(self.news.absences))

    @property
    def phases(self) -> list[Phase | None]:
        """Of the first address, each change; None: it answers."""
        return [absences[0].phase if absences else None for absences in self.told]

    @property
    def causes(self) -> list[Cause]:
        return [absence.cause for absences in self.told for absence in absences]

    async def until(self, phase: Phase | None) -> None:
        """Until this is what is known of the first address."""
        await until(lambda: self.phases and self.phases[-1] == phase)


@pytest.fixture
def heard() -> Heard:
    return Heard()


def asked(transport: Any, count: int = 1) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(transport.post("/completion", {"n": n})) for n in range(count)]


async def test_a_server_that_answers_is_no_news(wire: MakeWire, heard: Heard) -> None:
    async with FaultyServer(OK) as server:
        transport = wire(server.url, news=heard.news)
        await asyncio.gather(*asked(transport, 5))
    assert heard.told == []


async def test_one_that_refuses_at_the_start_is_waited_for_then_given_up(
    wire: MakeWire, heard: Heard
) -> None:
    async with FaultyServer(OK) as server:
        address = server.url
    with pytest.raises(BackendUnavailable):
        await wire(address, news=heard.news).post("/completion", {})
    assert heard.phases[0] == "waiting"
    assert heard.phases[-1] == "given up"
    (absence,) = heard.news.absences
    assert (absence.model, absence.address, absence.cause) == ("tiny", address, "unreached")
    assert absence.words == "Connection refused"
    assert absence.since == NOON
    assert heard.news.returns == 0


async def test_one_that_comes_back_by_itself_is_no_longer_away(
    wire: MakeWire, heard: Heard, clock: Clock
) -> None:
    async with FaultyServer(OK) as server:
        transport = wire(server.url, news=heard.news)
        await transport.post("/completion", {})
        await server.stop()
        requests = asked(transport, 3)
        async with clock.halted(1005):
            await heard.until("waiting")
            assert heard.news.waited_for == heard.news.absences
            await server.start()
        await asyncio.gather(*requests)
    assert heard.news.absences == ()
    assert heard.news.returns == 1
    assert "given up" not in heard.phases


async def test_who_stops_waiting_leaves_nothing_said_against_it(
    wire: MakeWire, heard: Heard
) -> None:
    gate = asyncio.Event()
    async with FaultyServer(loading(), held(gate, OK)) as server:
        transport = wire(server.url, news=heard.news)
        (request,) = asked(transport)
        await heard.until("waiting")
        request.cancel()
        await heard.until("unknown")
        assert heard.news.waited_for == ()
        assert heard.news.given_up == ()
        gate.set()
        await transport.post("/completion", {})
    assert heard.news.absences == ()


async def test_after_it_was_given_up_the_next_question_says_nothing_until_it_fails(
    wire: MakeWire, heard: Heard
) -> None:
    async with FaultyServer(OK) as server:
        transport = wire(server.url, news=heard.news)
        await transport.post("/completion", {})
        await server.stop()
        with pytest.raises(BackendUnavailable):
            await transport.post("/completion", {})
        await heard.until("given up")
        heard.told.clear()
        await server.start()
        assert (await transport.post("/completion", {})).data
    assert heard.phases == ["unknown", None]


async def test_a_trial_that_lasts_longer_than_the_refusal_holds_nothing_against_it(
    wire: MakeWire, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is up again and reads a long story answers late, and is not away."""
    monkeypatch.setattr(attendance, "GRACE", 0.0)
    gate = asyncio.Event()
    async with FaultyServer(loading(), held(gate, OK)) as server:
        transport = wire(server.url, news=heard.news)
        (request,) = asked(transport)
        await server.until(2)
        await heard.until("unknown")
        assert not request.done()
        gate.set()
        await request
    assert heard.phases[-1] is None


@pytest.mark.parametrize(
    ("step", "cause", "words"),
    [
        (loading(), "loading", "503: Loading model"),
        (status(503, "Too many requests"), "busy", "503: Too many requests"),
        (status(429, "Slow down"), "busy", "429: Slow down"),
        (status(500, "Out of memory"), "failed", "500: Out of memory"),
        (cut(), "cut", ""),
        (hang(), "slow", "No answer within 0.05 s"),
    ],
)
async def test_the_cause_is_a_field(
    wire: MakeWire, heard: Heard, step: Step, cause: Cause, words: str
) -> None:
    settings = {"timeout": 0.05} if cause == "slow" else {}
    async with FaultyServer(step) as server:
        with pytest.raises(BackendUnavailable):
            await wire(server.url, news=heard.news, **settings).post("/completion", {})
        (absence,) = heard.news.given_up
        assert (absence.cause, absence.address) == (cause, server.url)
        assert absence.words.startswith(words)


@pytest.mark.parametrize("code", [401, 403])
async def test_a_wrong_key_is_told_as_long_as_it_is_not_taken(
    wire: MakeWire, heard: Heard, code: int
) -> None:
    async with FaultyServer(status(code, "Invalid API Key"), OK) as server:
        transport = wire(server.url, news=heard.news, key="k" * 20)
        with pytest.raises(RequestRefused):
            await transport.post("/completion", {})
        (absence,) = heard.news.given_up
        assert (absence.cause, absence.words) == ("refused", f"{code}: Invalid API Key")
        assert "waiting" not in heard.phases
        await transport.post("/completion", {})
    assert heard.news.absences == ()


async def test_what_the_server_will_not_do_is_not_held_against_it(
    wire: MakeWire, heard: Heard
) -> None:
    async with FaultyServer(loading(), status(400, "too long"), status(404)) as server:
        transport = wire(server.url, news=heard.news)
        for _ in range(2):
            with pytest.raises(RequestRefused):
                await transport.post("/completion", {})
            assert heard.news.absences == ()
    assert heard.news.returns == 1


async def test_a_server_that_is_back_with_a_new_fault_is_told_with_that(
    wire: MakeWire, heard: Heard
) -> None:
    async with FaultyServer(loading(), status(500, "Out of memory"), OK) as server:
        await wire(server.url, news=heard.news).post("/completion", {})
    assert heard.causes[0] == "loading"
    assert heard.causes[-1] == "failed"
    assert {one.since for absences in heard.told for one in absences} == {NOON}


async def test_one_of_several_addresses_dies_and_returns(
    wire: MakeWire, heard: Heard, clock: Clock
) -> None:
    async with FaultyServer(OK) as first, FaultyServer(OK) as second:
        transport = wire(first.url, second.url, news=heard.news)
        await asyncio.gather(*asked(transport, 8))
        await first.stop()
        await asyncio.gather(*asked(transport, 8))
        (absence,) = heard.news.absences
        assert (absence.address, absence.phase) == (first.url, "spared")
        assert heard.news.waited_for == ()
        await first.start()
        while heard.news.absences:
            await asyncio.gather(*asked(transport, 8))
            await clock.sleep(1.0)
        assert set(heard.phases) == {"spared", None}


async def test_all_addresses_away_are_waited_for_together(wire: MakeWire, heard: Heard) -> None:
    async with FaultyServer(OK) as first, FaultyServer(OK) as second:
        transport = wire(first.url, second.url, news=heard.news)
        await asyncio.gather(*asked(transport, 8))
        await first.stop()
        await second.stop()
        requests = asked(transport, 8)
        await until(lambda: len(heard.news.waited_for) == 2)
        await second.start()
        await asyncio.gather(*requests)
        assert [(one.address, one.phase) for one in heard.news.absences] == [(first.url, "spared")]


async def test_one_request_that_fails_among_many_that_do_not_is_no_absence(
    wire: MakeWire, heard: Heard
) -> None:
    """As of a server that fails at one place of the text."""
    async with FaultyServer(status(500), OK, status(500), OK) as server:
        transport = wire(server.url, news=heard.news)
        for _ in range(2):
            await transport.post("/completion", {})
    assert "waiting" not in heard.phases
    assert "given up" not in heard.phases


async def test_a_stream_that_breaks_off_is_asked_on_without_a_word(
    wire: MakeWire, heard: Heard
) -> None:
    broken = cut(events({"n": 1}, done=False, end=False))
    async with FaultyServer(broken, raw(events({"n": 1}, {"n": 2}))) as server:
        transport = wire(server.url, news=heard.news)
        with pytest.raises(BackendUnavailable):
            async for _ in transport.stream("/completion", {}):
                pass
        assert [event async for event in transport.stream("/completion", {})]
    assert set(heard.phases) <= {"unknown", None}
    assert heard.news.absences == ()


async def test_of_ended_listening_nothing_is_heard(heard: Heard) -> None:
    heard.told.clear()
    calls: list[None] = []
    end: Callable[[], None] = heard.news.listen(lambda: calls.append(None))
    heard.news.stir()
    end()
    end()
    heard.news.stir()
    assert len(calls) == 1
