"""Each defence of the server, over real sockets (docs/serve.md, "Safety")."""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.backends.remote.api_keys import Secret
from llterm.backends.scripted import ScriptedBackend
from llterm.core.sampling.batch_sampler import BatchSampler
from llterm.engine.scheduler import Scheduler
from llterm.errors import UsageError
from llterm.serve.application import Access
from llterm.serve.http_server import listening, listening_file
from llterm.serve.routes import ROUTES
from llterm.serve.serve_limits import ServeLimits
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.polling import until
from tests.helpers.served_api import ServedApi, events, served, told
from tests.helpers.unread_stream import unread_stream

PATH = "/v1/completions"
BODY: Mapping[str, Any] = {"prompt": "The old", "max_tokens": 2, "seed": 1}


@pytest_asyncio.fixture
async def bundled() -> AsyncIterator[LlamaBackend]:
    backend = await open_llama(BUNDLED, LlamaSettings(threads=1), name="fable")
    yield backend
    await backend.close()


class Held:
    """Where a scripted model waits before each of its answers; how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.reached = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self) -> None:
        self.asked += 1
        self.reached.set()
        await self.open.wait()


async def test_other_hosts_are_refused_before_anything_else() -> None:
    async with served(access=Access(keys=(Secret("k"),), hosts=("my.box",))) as api:
        for host in ("thief.example", f"thief.example:{api.port}", "127.0.0.1.thief.example", ""):
            status, error = told(await api.client.get("/health", headers={"Host": host}))
            assert (status, error["code"]) == (403, "host_not_allowed")
        for host in ("localhost:1", "127.0.0.1", "127.8.8.8:99", "[::1]:80", "my.box", "LOCALHOST"):
            answer = await api.client.get("/health", headers={"Host": host})
            assert answer.status_code == 200, host


async def test_an_address_of_all_takes_addresses_but_no_strangers_name() -> None:
    async with served(access=Access(bound="0.0.0.0")) as api:
        own = await api.client.get("/health", headers={"Host": "192.168.1.9:80"})
        other = await api.client.get("/health", headers={"Host": "thief.example"})
        assert (own.status_code, other.status_code) == (200, 403)


async def test_every_route_but_health_and_the_page_asks_for_the_key() -> None:
    access = Access(keys=(Secret("first-key"), Secret("second-key")))
    async with served(access=access) as api:
        document = (
            await api.client.get("/openapi.json", headers={"X-Api-Key": "first-key"})
        ).json()
        assert (await api.client.get("/health")).status_code == 200
        assert (await api.client.get("/")).status_code == 200
        for path, operations in [*document["paths"].items(), ("/nothing", {"get": 0})]:
            if path.endswith("/health") or path == "/":
                continue
            for method in operations:
                for headers in ({}, {"Authorization": "Bearer first-ke"}, {"X-Api-Key": ""},
                                {"Authorization": "Basic first-key"}):  # fmt: skip
                    answer = await api.client.request(method, path, headers=headers)
                    assert told(answer)[0] == 401, path
        for headers in (
            {"Authorization": "Bearer first-key"},
            {"Authorization": "bearer second-key"},
            {"X-Api-Key": "second-key"},
        ):
            assert (await api.client.get("/v1/models", headers=headers)).status_code == 200


async def test_pages_may_ask_only_where_their_origin_is_listed() -> None:
    access = Access(origins=("http://good.example",), keys=(Secret("k"),))
    async with served(access=access) as api:
        asks = {"Access-Control-Request-Method": "POST"}
        for origin in ("http://evil.example", "null", "http://good.example.evil.example"):
            headers = {"Origin": origin, "X-Api-Key": "k"}
            answer = await api.client.get("/v1/models", headers=headers)
            assert told(answer)[0] == 403
            before = await api.client.request("OPTIONS", PATH, headers={**headers, **asks})
            assert (before.status_code, before.content) == (200, b"")
            for each in (answer, before):
                assert not any(name.startswith("access-control") for name in each.headers)
        own = {"Origin": api.address, "X-Api-Key": "k"}
        answer = await api.client.get("/v1/models", headers=own)
        assert answer.status_code == 200
        assert not any(name.startswith("access-control") for name in answer.headers)
        for other in (f"http://127.0.0.1:{api.port + 1}", f"http://localhost:{api.port}"):
            answer = await api.client.get("/v1/models", headers={**own, "Origin": other})
            assert told(answer)[0] == 403
        good = {"Origin": "http://good.example"}
        before = await api.client.request("OPTIONS", PATH, headers={**good, **asks})
        assert before.status_code == 200
        for answer in (before, await api.client.get("/v1/models", headers=good)):
            assert answer.headers["access-control-allow-origin"] == "http://good.example"
            assert "access-control-allow-credentials" not in answer.headers
            assert answer.headers["vary"] == "Origin"


async def test_only_json_is_taken_and_only_so_much() -> None:
    async with served(limits=ServeLimits(body=2000, drain_seconds=0)) as api:
        for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
            answer = await api.client.post(PATH, content=b"{}", headers={"Content-Type": kind})
            assert told(answer)[0] == 415
        packed = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        assert told(await api.client.post(PATH, content=b"{}", headers=packed))[0] == 415
        assert (await api.refused(PATH, prompt="a" * 3000))[0] == 413

        async def parts() -> Any:
            for _ in range(4):
                yield b" " * 900

        json = {"Content-Type": "application/json"}
        assert told(await api.client.post(PATH, content=parts(), headers=json))[0] == 413


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (PATH, {}, 413),
        (PATH, {"Content-Type": "text/plain"}, 415),
        (PATH, {"X-Api-Key": "wrong"}, 401),
        (PATH, {"Host": "thief.example"}, 403),
        ("/nothing", {"Content-Type": "text/plain"}, 415),
    ],
)
async def test_a_refusal_is_read_by_who_still_sends(
    path: str, headers: Mapping[str, str], status: int
) -> None:
    access = Access(keys=(Secret("k"),))
    async with served(access=access, limits=ServeLimits(body=2000, drain_seconds=0)) as api:
        given = {"Content-Type": "application/json", "X-Api-Key": "k", **headers}
        for _ in range(5):
            answer = await api.client.post(path, content=b" " * (5 << 20), headers=given)
            assert told(answer)[0] == status


async def raw(api: ServedApi, data: bytes) -> bytes:
    """All that the server answers to these bytes until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    writer.write(data)
    answer = b""
    # What the server did not read any more makes the end a reset.
    with suppress(ConnectionResetError):
        while part := await reader.read(1 << 16):
            answer += part
    writer.close()
    return answer


async def test_half_a_head_half_a_body_and_idle_connections_are_not_waited_for() -> None:
    async with served(limits=ServeLimits(head_seconds=0.2, idle_seconds=1, drain_seconds=0)) as api:
        assert await raw(api, b"GET /health HTTP/1.1\r\nHost: local") == b""
        assert await raw(api, b"") == b""
        head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
        head += b"Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
        assert b" 408 " in await raw(api, head)
        asked = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for rest in (b"GET /hea", b""):
            answered = await raw(api, asked + rest)
            assert answered.count(b"HTTP/1.1 200") == 1


async def test_a_head_without_end_is_refused() -> None:
    async with served() as api:
        answer = await raw(api, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (1 << 18))
        assert b" 400 " in answer


async def test_more_connections_than_there_may_be_are_turned_away() -> None:
    async with served(limits=ServeLimits(connections=2, drain_seconds=0)) as api:
        others = [await asyncio.open_connection("127.0.0.1", api.port) for _ in range(3)]
        for _, writer in others:
            writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answers = [await reader.readuntil(b"\r\n\r\n") for reader, _ in others]
        assert any(b" 503 " in answer for answer in answers)
        for _, writer in others:
            writer.close()


async def test_who_reads_nothing_is_cut_off_and_no_longer_drawn_for() -> None:
    limits = ServeLimits(stalled_seconds=0.3, drain_seconds=0)
    async with served(limits=limits) as api:
        with unread_stream(api.port, tokens=1500):
            await until(lambda: api.state.counts.requests > 0)
        assert 0 < api.state.counts.drawn_tokens < 1500
        assert api.state.open.count == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_its_drawing_at_once(stream: bool) -> None:
    held = Held()
    async with served(ScriptedBackend(pace=held)) as api:
        reading = asyncio.create_task(api.client.post(PATH, json={**BODY, "stream": stream}))
        await held.reached.wait()
        reading.cancel()
        await until(lambda: api.state.open.count == 0)
        assert held.asked == 1
        held.open.set()
        await api.ask(PATH, **BODY)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_real_model_draws_one_token_more_at_most_for_a_client_that_left(
    stream: bool, bundled: LlamaBackend
) -> None:
    async with served(bundled) as api:
        scheduler = api.state.models.loaded[0].generator
        assert isinstance(scheduler, Scheduler)
        body = {"prompt": "The old", "max_tokens": 1000, "ignore_eos": True, "stream": stream}
        reading = asyncio.create_task(api.client.post(PATH, json=body))
        await until(lambda: scheduler.running)
        reading.cancel()
        await until(lambda: api.state.open.count == 0)
        drawn = scheduler.tokens
        await until(lambda: not scheduler.running)
        assert scheduler.tokens - drawn <= 1


PREFIX = "The forest seemed darker than usual, but that did not bother Elis in the least. "


async def test_what_one_key_asked_is_in_no_cache_of_another(bundled: LlamaBackend) -> None:
    access = Access(keys=(Secret("first-key"), Secret("second-key")))
    async with served(bundled, access=access) as api:
        cached = []
        for key in ("first-key", "first-key", "second-key", "second-key"):
            body = {"prompt": PREFIX, "max_tokens": 1}
            answer = await api.client.post(PATH, json=body, headers={"X-Api-Key": key})
            usage = answer.json()["usage"]
            cached.append(usage["prompt_tokens_details"]["cached_tokens"])
    first, again, of_another, again_of_another = cached
    assert (first, of_another) == (0, 0)
    assert again == again_of_another > 0


async def test_a_full_queue_is_429_with_when_to_come_again() -> None:
    held = Held()
    limits = ServeLimits(parallel=1, queue=1, drain_seconds=0)
    async with served(ScriptedBackend(pace=held), limits=limits) as api:
        first = asyncio.create_task(api.ask(PATH, **BODY))
        await held.reached.wait()
        second = asyncio.create_task(api.ask(PATH, **BODY))
        await until(lambda: api.state.open.count == 2)
        for stream in (False, True):
            answer = await api.client.post(PATH, json={**BODY, "stream": stream})
            assert told(answer)[0] == 429
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["x-should-retry"] == "true"
        held.open.set()
        assert (await first)["choices"] == (await second)["choices"]


async def test_a_request_of_many_texts_waits_as_one_and_is_not_refused() -> None:
    held = Held()
    limits = ServeLimits(parallel=1, queue=1, drain_seconds=0)
    async with served(ScriptedBackend(pace=held), limits=limits) as api:
        first = asyncio.create_task(api.ask(PATH, **BODY, n=5))
        await held.reached.wait()
        second = asyncio.create_task(api.ask("/completion", prompt="a", n_predict=1, n=5))
        await until(lambda: api.state.open.count == 2)
        assert (await api.refused(PATH, **BODY))[0] == 429
        held.open.set()
        assert len((await first)["choices"]) == len(await second) == 5


async def test_what_is_under_way_at_the_end_is_ended_with_an_error() -> None:
    held = Held()
    async with served(ScriptedBackend(pace=held)) as api:
        whole = asyncio.create_task(api.client.post(PATH, json=BODY))
        held.open.set()
        async with api.client.stream(
            "POST", PATH,
            json={"prompt": "a", "stream": True, "max_tokens": 1000, "ignore_eos": True},
        ) as answer:  # fmt: skip
            lines = answer.aiter_text()
            text = await anext(lines)
            held.open.clear()
            api.server.end()
            async for part in lines:
                text += part
        *_, last = events(text)
        assert last["error"]["code"] == "server_ending"
        assert (await whole).status_code in (200, 503)


async def test_a_request_that_takes_too_long_is_ended() -> None:
    limits = ServeLimits(request_seconds=0.2, drain_seconds=0)
    async with served(ScriptedBackend(pace=Held()), limits=limits) as api:
        answer = await api.client.post(PATH, json=BODY)
        assert told(answer)[0] == 408
        assert answer.headers["x-should-retry"] == "false"


WORDS = "SECRET PROMPT /home/person/story.gguf"


class Broken(ScriptedBackend):
    """A model that fails in a way that nobody foresaw, with a person's words in it."""

    async def ask(self, queries: Any) -> Any:
        raise RuntimeError(WORDS)
        yield


def lines_of(caplog: pytest.LogCaptureFixture) -> str:
    """What the server's log has, with the faults that its records bring along."""
    shown = logging.Formatter()
    ours = (
        record for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))
    )
    return "\n".join(shown.format(record) for record in ours)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("real", [False, True])
async def test_a_fault_is_a_500_that_tells_neither_client_nor_log_a_prompt(
    stream: bool,
    real: bool,
    bundled: LlamaBackend,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError(WORDS)

    monkeypatch.setattr(BatchSampler, "draw", broken)
    caplog.set_level(logging.DEBUG)
    async with served(bundled if real else Broken()) as api:
        answer = await api.client.post(PATH, json={**BODY, "stream": stream})
        status, error = told(answer)
        assert status == 500
        assert answer.headers["x-should-retry"] == "false"
        assert "RuntimeError" in error["message"]
        assert "SECRET" not in answer.text
        assert "/home" not in answer.text
        await api.client.post(PATH, json={**BODY, "prompt": "SECRET", "zz": "SECRET"})
    assert "RuntimeError" in lines_of(caplog)
    assert "SECRET" not in lines_of(caplog)


async def test_nothing_of_requests_is_in_the_log_and_no_path_of_this_machine_in_answers(
    bundled: LlamaBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    word = "SECRET\x1b[31m"
    headers = {"X-Request-Id": "SECRET", "User-Agent": "SECRET", "X-Api-Key": "SECRET"}
    access = Access(hosts=("SECRET",))
    async with served(bundled, metrics=True, access=access) as api:
        answers = [
            await api.client.post(path, json=body, headers=headers)
            for path in (PATH, "/completion", "/tokenize", "/SECRET")
            for body in ({"prompt": word, "max_tokens": 1}, {"prompt": "a", "model": word}, [word],
                         {"prompt": "a", "grammar": word}, {"prompt": [1 << 30]}, {word: 1})
        ]  # fmt: skip
        answers += [
            await api.client.get(path, headers=headers)
            for route in ROUTES
            if route.method == "GET"
            for path in route.paths
        ]
        for line in (b"SECRET\x1b / HTTP/9\r\n\r\n", b"GET /\x1bSECRET HTTP/1.1\r\n\r\n",
                     b"GET / HTTP/1.1\r\nHost: SECRET\x00\r\n\r\n"):  # fmt: skip
            assert await raw(api, line)
    assert "SECRET" not in lines_of(caplog)
    assert "\x1b" not in lines_of(caplog)
    for answer in answers:
        assert str(BUNDLED.parent) not in answer.text
        assert "\x1b" not in answer.text
        assert answer.status_code < 500


async def test_names_of_requests_are_kept_where_they_are_plain() -> None:
    async with served() as api:
        for given, kept in (("abc-1", True), ("a b", False), ("x" * 65, False)):
            answer = await api.client.get("/health", headers={"X-Request-Id": given})
            assert (answer.headers["x-request-id"] == given) is kept
            assert answer.headers["x-content-type-options"] == "nosniff"


async def test_what_a_terminal_could_obey_in_an_error_is_inert() -> None:
    async with served() as api:
        _, error = await api.refused(PATH, prompt="a", model="\x1b[31mred\r\n")
        assert "\x1b" not in error["message"]
        assert error["message"].isprintable()


def test_a_socket_file_is_for_its_person_alone_and_gone_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "llterm.socket"
    with listening_file(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with pytest.raises(UsageError, match="in use"), listening_file(path):
            pass
    assert not path.exists()
    path.write_text("mine")
    with pytest.raises(UsageError), listening_file(path):
        pass
    assert path.read_text() == "mine"


def test_a_taken_port_is_an_error_of_usage() -> None:
    with listening("127.0.0.1", 0) as taken, pytest.raises(UsageError) as error:
        listening("127.0.0.1", taken.getsockname()[1])
    assert error.value.exit_code == 2
