"""What is remembered of a server saves the next start its trying, and yields to the facts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from llterm.backends.remote import server_connection
from llterm.backends.remote import server_memory as memory
from llterm.backends.remote.remote_backend import RemoteBackend
from llterm.config.server_settings import ServerSettings
from llterm.core.query import Fact, Query
from llterm.core.tokens import Anchor, Path
from tests.helpers.byte_tokenizers import ByteModel, ByteTokenizer, ByteVllmServer
from tests.helpers.fake_servers import SERVERS, LlamaServer, MlxServer, VllmServer
from tests.helpers.foreign_servers import open_foreign
from tests.helpers.little_model import Server

SETTINGS = ServerSettings(("http://secret-host.example:8080",))


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLTERM_STATE_DIR", str(tmp_path))


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Opens the model anew on a server."""

    async def start(server: Server, **how: Any) -> RemoteBackend:
        async def wire(*_: Any, **__: Any) -> Server:
            return server

        monkeypatch.setattr(server_connection, "open_transport", wire)
        server.requests.clear()
        server.visited.clear()
        return await open_foreign("tiny", SETTINGS, **how)

    return start


async def told(backend: RemoteBackend) -> dict[bytes, float]:
    vocabulary = backend.vocabulary
    ids = await vocabulary.tokenize(b"Once the")
    (fact,) = [
        one async for one in backend.ask([Query(Path(Anchor(vocabulary.prefix + ids)), keep=20)])
    ]
    assert isinstance(fact, Fact), fact
    pairs = zip(fact.distribution.ids.tolist(), fact.distribution.logprobs.tolist(), strict=True)
    return {vocabulary.token(id).data: logprob for id, logprob in pairs}


@pytest.mark.parametrize("kind", SERVERS, ids=lambda kind: kind.__name__)
async def test_the_next_start_tries_nothing_and_is_the_same(kind: Any, started: Any) -> None:
    server = kind()
    first = await started(server)
    tried, visited = len(server.requests), len(server.visited)
    known = await told(first)
    again = await started(server)
    # One that says nothing of itself is known by an answer.
    assert len(server.requests) == (kind is MlxServer) < tried
    assert len(server.visited) <= visited
    assert again.dialect.traits == first.dialect.traits
    assert again.capabilities.masks == first.capabilities.masks
    assert again.chat_format == first.chat_format
    assert await told(again) == known


async def test_tokens_that_were_read_are_remembered(started: Any) -> None:
    """Parts of characters, and which ids have no text, too."""
    model = ByteModel(0)
    model.tokenizer = ByteTokenizer()
    server = ByteVllmServer(model)
    first = await started(server)
    known = await told(first)
    again = await started(server)
    assert await told(again) == known
    assert {path for path, _ in server.requests} == {"/tokenize", "/v1/completions"}
    tokens = [[one.vocabulary.token(id) for id in range(model.size)] for one in (first, again)]
    assert tokens[0] == tokens[1]


async def test_another_build_or_model_is_tried_again(started: Any) -> None:
    await started(VllmServer())

    class Newer(VllmServer):
        paths: ClassVar[Mapping[str, Any]] = {**VllmServer.paths, "/version": {"version": "0.33.0"}}
        most = 8

    server = Newer()
    backend = await started(server)
    assert server.requests
    assert backend.dialect.traits.top == 8


async def test_what_an_answer_contradicts_is_tried_again_at_once(started: Any) -> None:
    await started(VllmServer())

    class Stricter(VllmServer):
        most = 4

    server = Stricter()
    backend = await started(server)
    assert not server.requests
    assert len(await told(backend)) <= 4 == backend.dialect.traits.top
    server = Stricter()
    await started(server)
    assert server.requests


async def test_doctor_asks_afresh(started: Any) -> None:
    await started(LlamaServer())
    server = LlamaServer()
    await started(server, fresh=True)
    assert server.requests


async def test_a_week_is_remembered_without_the_address(started: Any) -> None:
    await started(LlamaServer())
    file = memory.memory_file(SETTINGS)
    text = file.read_text("utf-8")
    assert "secret-host" not in text + file.name
    at = json.loads(text)["at"]
    assert memory.recall(file, at + memory.LASTS - 1) is not None
    assert memory.recall(file, at + memory.LASTS) is None
    for broken in ("", "{", "[]", '{"at": 1}', text.replace('"server"', '"sever"')):
        file.write_text(broken, "utf-8")
        assert memory.recall(file) is None
        await started(LlamaServer())
