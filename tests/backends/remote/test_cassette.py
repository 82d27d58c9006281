"""Record and replay: the same answers without a server."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llterm.backends.remote.cassette import read_cassette
from llterm.backends.remote.server_connection import open_transport
from llterm.backends.remote.transport import RequestRefused, Transport
from llterm.config.server_settings import ServerSettings
from llterm.errors import BackendUnavailable, LltermError, UsageError
from tests.helpers.faulty_server import (
    FaultyServer,
    collected,
    cut,
    events,
    hang,
    raw,
    reply,
    status,
)

ANSWER = {"content": "né ☃", "usage": {"prompt_tokens": 5, "completion_tokens": 2}}


async def events_of(wire: Transport, body: dict[str, Any]) -> list[Any]:
    return [event async for event in wire.stream("/v1/completions", body)]


async def test_what_was_recorded_is_replayed(tmp_path: Path) -> None:
    path = tmp_path / "some.cassette"
    async with FaultyServer(
        reply({"n": 1}), reply(ANSWER), reply({"second": True}), raw(events({"n": 1}, {"n": 2})),
        status(404, "no such model"),
    ) as server:  # fmt: skip
        settings = ServerSettings((server.url,), dialect="vllm", model="big", parallel=3)
        wire = await open_transport(replace(settings, record=path))
        assert wire.parallel == 3
        assert (await wire.get("/props")).data == {"n": 1}
        for _ in range(2):
            await wire.post("/completion", {"prompt": [1, 2], "n": 3})
        await events_of(wire, {"prompt": "a"})
        with pytest.raises(RequestRefused) as refused:
            await wire.post("/tokenize", {})
        spent = wire.spent
        await wire.close()
    wire = await open_transport(replace(settings, replay=path))
    assert (wire.parallel, wire.name) == (3, "some.cassette")
    assert (await wire.get("/props")).data == {"n": 1}
    assert await events_of(wire, {"prompt": "a"}) == [{"n": 1}, {"n": 2}]
    body = {"n": 3, "prompt": [1, 2]}
    found = [(await wire.post("/completion", body)).data for _ in range(3)]
    assert found == [ANSWER, {"second": True}, {"second": True}]
    with pytest.raises(RequestRefused) as again:
        await wire.post("/tokenize", {})
    assert vars(again.value) == vars(refused.value) | {
        "title": refused.value.title.replace(server.url, "the server")
    }
    assert wire.spent.prompt_tokens == spent.prompt_tokens == 5
    assert read_cassette(path)[0] == ServerSettings((), "vllm", "big", 3)


async def test_a_failure_is_replayed_too(tmp_path: Path) -> None:
    path = tmp_path / "some.cassette"
    begun = events({"n": 1}, done=False, end=False)
    async with FaultyServer(status(429, Retry_After="999"), cut(begun)) as server:
        settings = ServerSettings((server.url,))
        wire = await open_transport(replace(settings, record=path))
        with pytest.raises(BackendUnavailable):
            await wire.get("/props")
        with pytest.raises(BackendUnavailable):
            await events_of(wire, {})
        await wire.close()
    wire = await open_transport(replace(settings, replay=path))
    with pytest.raises(BackendUnavailable, match="the server is busy"):
        await wire.get("/props")
    received: list[Any] = []
    with pytest.raises(BackendUnavailable, match="the server broke off"):
        await collected(wire.stream("/v1/completions", {}), received)
    assert received == [{"n": 1}]


async def test_a_stream_that_was_left_is_replayed_as_far_as_it_went(tmp_path: Path) -> None:
    path = tmp_path / "some.cassette"
    async with FaultyServer(hang(events({"n": 1}, done=False, end=False))) as server:
        wire = await open_transport(ServerSettings((server.url,), record=path))
        stream = wire.stream("/v1/completions", {})
        await anext(stream)
        await stream.aclose()
        await wire.close()
    wire = await open_transport(ServerSettings((server.url,), replay=path))
    stream = wire.stream("/v1/completions", {})
    assert await anext(stream) == {"n": 1}
    with pytest.raises(UsageError, match="was stopped at this point"):
        await anext(stream)


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        ("/completion", {"prompt": "a", "n": 2, "seed": 1}, "not with this n, seed"),
        ("/completion", {"prompt": "b", "n": 1}, "not with this prompt"),
        ("/tokenize", {}, "POST /tokenize was not asked"),
    ],
)
async def test_what_is_missing_is_said(
    tmp_path: Path, path: str, body: dict[str, Any], words: str
) -> None:
    file = tmp_path / "some.cassette"
    async with FaultyServer(reply({})) as server:
        wire = await open_transport(ServerSettings((server.url,), record=file))
        for n in (1, 2):
            await wire.post("/completion", {"prompt": "a" * n, "n": 1})
        await wire.close()
    wire = await open_transport(ServerSettings((server.url,), replay=file))
    with pytest.raises(UsageError, match="no answer to this request") as caught:
        await wire.post(path, body)
    assert words in caught.value.cause


HEAD = {"llterm_cassette": 1, "dialect": "auto", "model": None, "parallel": 4}
ENTRY: dict[str, Any] = {"method": "GET", "path": "/props", "body": None, "status": 200, "data": {}}


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "Line 1: it breaks off"),
        (["a story"], "Line 1: at character 1 stands a story"),
        ([{}], "Line 1: the answer has no llterm_cassette"),
        ([HEAD | {"llterm_cassette": 2}], "version 2"),
        ([HEAD | {"parallel": "x"}], "parallel is a text, not a whole number"),
        ([HEAD, ENTRY, '{"method": "GE'], "Line 3: it breaks off"),
        ([HEAD, ENTRY | {"status": "ok"}], "Line 2: status is a text"),
        ([HEAD, [1]], "Line 2: the answer is a list, not an object"),
        ([HEAD, ENTRY | {"failed": ["x"]}], "failed has 1 entries"),
    ],
)
async def test_a_file_that_is_no_recording(tmp_path: Path, lines: list[Any], words: str) -> None:
    path = tmp_path / "some.cassette"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts), "utf-8")
    with pytest.raises(UsageError) as caught:
        await open_transport(ServerSettings((), replay=path))
    assert words in caught.value.cause


async def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    settings = ServerSettings(("http://127.0.0.1:1",))
    taken = tmp_path / "there"
    taken.write_text("my story")
    for path in (taken, tmp_path / "no" / "folder", tmp_path):
        with pytest.raises(UsageError):
            await open_transport(replace(settings, record=path))
    assert taken.read_text() == "my story"
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(LltermError, match="cannot be read"):
            await open_transport(replace(settings, replay=path))
