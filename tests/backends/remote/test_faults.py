"""Every fault of a server: what helps is done, the rest is said once, with cause and hint."""

from __future__ import annotations

import asyncio
import gzip
import socket
from typing import Any

import pytest

from llterm.backends.remote.replica import MOST_BYTES
from llterm.backends.remote.transport import BadAnswer, RequestRefused
from llterm.core.server_news import ServerNews
from llterm.errors import BackendUnavailable
from tests.helpers.fake_clock import Clock
from tests.helpers.faulty_server import (
    FaultyServer,
    MakeWire,
    Step,
    chunk,
    collected,
    cut,
    drip,
    events,
    hang,
    loading,
    raw,
    redirect,
    reply,
    status,
    whole,
)

OK = reply({"content": "fine"})
BEGUN = events({"n": 1}, done=False, end=False)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@pytest.mark.parametrize(
    ("fault", "times"),
    [
        (status(500), 2),
        (status(502), 2),
        (status(504), 2),
        (status(408), 2),
        (status(429, Retry_After="7"), 3),
        (status(503, "Server busy"), 3),
        (loading(), 40),
        (cut(), 4),
        (cut(HEAD + b'{"content": '), 4),
        (reply({"error": {"code": 502, "message": "told in a 200"}}), 2),
    ],
)
async def test_what_passes_is_asked_again(
    wire: MakeWire, clock: Clock, fault: Step, times: int
) -> None:
    async with FaultyServer(*[fault] * times, OK) as server:
        transport = wire(server.url)
        answer = await transport.post("/completion", {"prompt": "a"})
        assert answer.data == {"content": "fine"}
        assert len(server.requests) == times + 1
        assert len({request.body for request in server.requests}) == 1
        assert (transport.spent.requests, transport.spent.retries) == (times + 1, times)
        assert clock.now < 1000 + 100


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (status(400, "n is 99, at most 20"), RequestRefused, "n is 99, at most 20"),
        (status(401, "Invalid API Key"), RequestRefused, "asks for a key"),
        (status(403), RequestRefused, "key"),
        (status(404, "model 'x' not found"), RequestRefused, "model 'x' not found"),
        (reply({"detail": [{"msg": "field required"}]}, 422), RequestRefused, "field required"),
        (reply({"error": "no such thing"}, 400), RequestRefused, "no such thing"),
        (whole(b"<html><title>Not\x1b[31m here</title>", 404), RequestRefused, "Not␛[31m here"),
        (whole(b"", 405), RequestRefused, "405"),
        (status(501, "No such endpoint"), RequestRefused, "No such endpoint"),
        (reply({"error": {"code": "insufficient_quota", "message": "paid up?"}}, 429),
         RequestRefused, "paid up?"),
        (whole(b'{"a": [1, 2'), BadAnswer, "breaks off after 11 bytes"),
        (whole(b'{"a": "x'), BadAnswer, "breaks off"),
        (whole(b'{"a": 1}, 2'), BadAnswer, "at character 9 stands , 2"),
        (whole(b"<html>\x1b[2J</html>"), BadAnswer, "<html>␛[2J"),
        (whole(b'{"a": [0.5, {"p": NaN}]}'), BadAnswer, "a[1].p is NaN"),
        (whole(b'{"p": -Infinity}'), BadAnswer, "p is -Infinity"),
        (whole(b'{"p": 1e999}'), BadAnswer, "p is 1e999"),
        (whole(b'{"p": "\xff"}'), BadAnswer, "byte 7 is not UTF-8"),
        (whole(b"[" * 100_000), BadAnswer, "too deep"),
        (whole(b"[" * 100_000, 400), RequestRefused, "400"),
        (whole(b'{"n": ' + b"9" * 10_000 + b"}"), BadAnswer, "too long"),
        (reply({"error": {"code": 400, "message": "told in a 200"}}), RequestRefused,
         "told in a 200"),
        (whole(b"not gzip", Content_Encoding="gzip"), BadAnswer, "cannot be read"),
        (raw(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", close=True), BadAnswer, "base_url"),
    ],
)  # fmt: skip
async def test_what_no_repeat_cures_is_said_at_once(
    wire: MakeWire, clock: Clock, fault: Step, error: type[Exception], words: str
) -> None:
    async with FaultyServer(fault) as server:
        with pytest.raises(error) as caught:
            await wire(server.url).post("/completion", {"prompt": "a"})
        assert words in str(caught.value)
        assert len(server.requests) == 1
        assert not clock.slept


async def test_a_refusal_tells_status_and_the_servers_own_words(wire: MakeWire) -> None:
    async with FaultyServer(status(404, "nothing \x1b]0;here\x07\u202e")) as server:
        with pytest.raises(RequestRefused) as caught:
            await wire(server.url).get("/v1/models")
    refused = caught.value
    assert (refused.status, refused.detail, refused.exit_code) == (404, "nothing ␛]0;here␇�", 4)
    assert refused.data["error"]["code"] == 404
    assert server.url in refused.title
    assert "base_url" in refused.hint


@pytest.mark.parametrize(
    ("fault", "title", "requests"),
    [
        (status(500, "out of memory"), "failed", 3),
        (cut(), "broke off", 5),
        (status(429, "slow down"), "is busy", 7),
        (status(429, "slow down", Retry_After="3600"), "is busy", 1),
        (loading(), "is still loading its model", 300),
    ],
)
async def test_patience_has_an_end(
    wire: MakeWire, clock: Clock, fault: Step, title: str, requests: int
) -> None:
    async with FaultyServer(fault) as server:
        with pytest.raises(BackendUnavailable, match=title) as caught:
            await wire(server.url).post("/completion", {})
        assert caught.value.retryable
        assert caught.value.hint
        assert abs(len(server.requests) - requests) <= requests // 10
        assert clock.now - 1000 <= 600


async def test_nobody_listens(wire: MakeWire, clock: Clock) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(BackendUnavailable) as caught:
        await wire(url).post("/completion", {})
    assert caught.value.title == f"No connection to {url}"
    assert "refused" in caught.value.cause
    assert "its address" in caught.value.hint
    assert clock.now - 1000 < 3, "a wrong address is told soon"


async def test_no_connection_in_time(wire: MakeWire) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        with (
            # Takes the queue of one: the system leaves further ones without an answer.
            socket.create_connection(full.getsockname()),
            pytest.raises(BackendUnavailable, match="No connection") as caught,
        ):
            await wire(url, connect_timeout=0.02).get("/props")
    assert "within 0.02 s" in caught.value.cause


async def test_no_such_host(wire: MakeWire) -> None:
    with pytest.raises(BackendUnavailable, match="No connection"):
        await wire("http://nowhere.invalid").get("/props")


@pytest.mark.parametrize("fault", [hang(), hang(HEAD), drip(b" ", HEAD)])
async def test_an_answer_that_does_not_come_in_time(wire: MakeWire, fault: Step) -> None:
    async with FaultyServer(fault) as server:
        with pytest.raises(BackendUnavailable, match="takes too long") as caught:
            await wire(server.url, timeout=0.05).post("/completion", {})
        assert "0.05 s" in caught.value.cause
        assert "timeout" in caught.value.hint
        assert len(server.requests) == 1, "asked again it would take as long"
        await asyncio.wait_for(server.left.wait(), 5)


@pytest.mark.parametrize("told", [True, False])
async def test_an_answer_without_end_is_refused(wire: MakeWire, told: bool) -> None:
    size = 50_000_000
    head = f"HTTP/1.1 200 OK\r\n{f'Content-Length: {size}' * told}\r\n\r\n".encode()
    async with FaultyServer(drip(b" " * 1_000_000, head)) as server:
        transport = wire(server.url)
        with pytest.raises(BadAnswer, match="too large"):
            await transport.post("/completion", {})
        assert transport.spent.bytes_received < MOST_BYTES + 2_000_000
        assert not told or transport.spent.bytes_received < 2_000_000
        await asyncio.wait_for(server.left.wait(), 5)


async def test_a_packed_answer_counts_as_large_as_it_is(wire: MakeWire) -> None:
    bomb = gzip.compress(b" " * 50_000_000, 1)
    async with FaultyServer(whole(bomb, Content_Encoding="gzip")) as server:
        with pytest.raises(BadAnswer, match="too large"):
            await wire(server.url).post("/completion", {})


async def test_odd_values_inside_good_json_are_for_the_dialect_to_judge(wire: MakeWire) -> None:
    data = {"logprob": 0.7, "id": -5, "ids": [10**9], "text": None}
    async with FaultyServer(reply(data)) as server:
        assert (await wire(server.url).post("/completion", {})).data == data


async def test_an_empty_answer_is_none(wire: MakeWire) -> None:
    async with FaultyServer(whole(b"")) as server:
        assert (await wire(server.url).get("/health")).data is None


@pytest.mark.parametrize("code", [301, 302, 307, 308])
async def test_no_request_follows_to_another_address(wire: MakeWire, code: int) -> None:
    async with FaultyServer(OK) as thief:
        async with FaultyServer(redirect(f"{thief.url}/v1", code)) as server:
            one = wire(server.url, key="sk-planted-1234567890")
            for asked in (one.get("/props"), one.post("/completion", {})):
                with pytest.raises(RequestRefused, match="elsewhere") as caught:
                    await asked
                assert thief.url in caught.value.cause
                assert "base_url" in caught.value.hint
        assert not thief.requests


async def test_a_redirect_at_the_same_address_is_followed(wire: MakeWire) -> None:
    async with FaultyServer(redirect("/there"), OK) as server:
        assert (await wire(server.url).post("/completion", {"a": 1})).data["content"] == "fine"
        assert [one.path for one in server.requests] == ["/completion", "/there"]
        assert server.requests[1].data == {"a": 1}
        server.then(redirect("/again"))
        with pytest.raises(RequestRefused, match="elsewhere"):
            await wire(server.url).get("/props")


async def test_a_post_that_would_become_a_get_is_not_followed(wire: MakeWire) -> None:
    async with FaultyServer(redirect("/there", 302)) as server:
        with pytest.raises(RequestRefused, match="elsewhere"):
            await wire(server.url).post("/completion", {})
        assert len(server.requests) == 1


async def test_https_to_a_server_that_speaks_http(wire: MakeWire) -> None:
    async with FaultyServer(OK) as server:
        with pytest.raises(BackendUnavailable, match="No safe connection") as caught:
            await wire(server.url.replace("http", "https")).get("/props")
        assert "http://" in caught.value.hint


async def test_what_may_have_been_done_is_not_asked_twice_where_that_does_harm(
    wire: MakeWire,
) -> None:
    for fault in (cut(), status(500)):
        async with FaultyServer(fault) as server:
            with pytest.raises(BackendUnavailable):
                await wire(server.url).post("/load", {}, idempotent=False)
            assert len(server.requests) == 1
    async with FaultyServer(loading(), status(429), OK) as server:
        assert (await wire(server.url).post("/load", {}, idempotent=False)).data
        assert len(server.requests) == 3


async def test_a_server_that_restarts_in_the_middle(wire: MakeWire, clock: Clock) -> None:
    causes: list[str] = []
    news = ServerNews()
    news.listen(lambda: causes.extend(one.cause for one in news.absences))
    async with FaultyServer(OK) as server:
        transport = wire(server.url, news=news)
        assert (await transport.post("/completion", {})).data
        await server.stop()
        server.then(loading(), loading(), OK)
        asked = [asyncio.create_task(transport.post("/completion", {"n": n})) for n in range(20)]
        async with clock.halted(1010):
            assert not any(task.done() for task in asked)
            await server.start()
        answers = await asyncio.gather(*asked)
        assert [answer.data for answer in answers] == [{"content": "fine"}] * 20
    assert "unreached" in causes
    assert causes[-1] == "loading"
    assert news.absences == ()
    assert news.returns == 1


async def test_who_waits_for_a_dead_server_is_told_with_the_first(
    wire: MakeWire, clock: Clock
) -> None:
    async with FaultyServer(OK) as server:
        transport = wire(server.url)
        await transport.get("/props")
    waiting = [transport.post("/completion", {"n": n}) for n in range(100)]
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(error, BackendUnavailable) for error in found)
    assert 25 < clock.now - 1000 < 40
    assert transport.spent.requests < 50, "one at a time tries, the others wait for it"
    before = transport.spent.requests
    with pytest.raises(BackendUnavailable):
        await transport.post("/completion", {})
    assert transport.spent.requests == before + 1, "afterwards a new request asks once"


async def test_a_stream_gives_events_until_its_end(wire: MakeWire) -> None:
    async with FaultyServer(raw(events({"n": 1}))) as server:
        assert [event async for event in wire(server.url).stream("/completion", {})] == [{"n": 1}]
    async with FaultyServer(raw(events({"n": 1}, {"n": 2}, done=False))) as server:
        one = wire(server.url)
        found = [event async for event in one.stream("/completion", {"stream": True})]
        assert found == [{"n": 1}, {"n": 2}]
        assert server.requests[0].data == {"stream": True}


async def test_an_answer_that_is_not_streamed_is_one_event(wire: MakeWire) -> None:
    async with FaultyServer(OK) as server:
        found = [event async for event in wire(server.url).stream("/completion", {})]
        assert found == [{"content": "fine"}]


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (cut(BEGUN), BackendUnavailable, "broke off"),
        (hang(BEGUN), BackendUnavailable, "too long"),
        (drip(chunk(b": ping\n\n"), BEGUN), BackendUnavailable, "too long"),
        (raw(BEGUN + chunk(b"data: {]\n\n")), BadAnswer, "stands ]"),
        (raw(events({"n": 1}, {"error": {"code": 400, "message": "too long"}})), RequestRefused,
         "too long"),
        (raw(events({"n": 1}, {"error": {"message": "cache full"}})), BackendUnavailable,
         "cache full"),
    ],
)  # fmt: skip
async def test_a_stream_that_goes_wrong_keeps_what_came(
    wire: MakeWire, fault: Step, error: type[Exception], words: str
) -> None:
    received: list[Any] = []
    async with FaultyServer(fault) as server:
        with pytest.raises(error, match=words):
            await collected(wire(server.url, timeout=1.0).stream("/completion", {}), received)
        assert received == [{"n": 1}]
        assert len(server.requests) == 1


async def test_a_stream_that_has_not_begun_is_asked_again(wire: MakeWire) -> None:
    async with FaultyServer(cut(), loading(), raw(events({"n": 1}))) as server:
        assert [event async for event in wire(server.url).stream("/completion", {})] == [{"n": 1}]
        assert len(server.requests) == 3
