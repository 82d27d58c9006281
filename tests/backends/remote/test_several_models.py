"""A server with several models: the one that is meant is taken, or it says which there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from llterm.backends.registry import find_model, open_model
from llterm.backends.remote.server_connection import connect, open_remote
from llterm.backends.remote.server_memory import memory_file, recall
from llterm.backends.remote.transport import Reply, RequestRefused, ServerFailed
from llterm.config import Config
from llterm.config.server_settings import ServerSettings, address_mistake
from llterm.core.query import Fact, Query
from llterm.core.tokens import Anchor, Path
from llterm.errors import CapabilityMissing, ModelError
from tests.helpers.fake_servers import (
    ChatServer,
    CompletionsServer,
    LlamaServer,
    OllamaServer,
    VllmServer,
)
from tests.helpers.faulty_server import FaultyServer
from tests.helpers.http_model import HttpModel
from tests.helpers.little_model import TEMPLATE, cut


class RouterServer(LlamaServer):
    """llama.cpp's server with `--models-dir`: tools/server/README.md, and b10434's own answers."""

    def __init__(self, *names: str, loaded: Sequence[str] = (), autoload: bool = True) -> None:
        super().__init__()
        self.names = names
        self.loaded = list(loaded)
        self.autoload = autoload

    async def get(self, path: str) -> Reply:
        self.visited.append(path)
        if path == "/v1/models":
            return Reply(200, {"data": [self._offer(name) for name in self.names]}, {}, self.name)
        if path == "/props":
            props = {"role": "router", "max_instances": 4, "models_autoload": self.autoload,
                     "default_generation_settings": {"params": None, "n_ctx": 0}}  # fmt: skip
            return Reply(200, props, {}, self.name)
        parts = urlsplit(path)
        if parts.path == "/props":
            (name,) = parse_qs(parts.query)["model"]
            self._awake(name)
            return Reply(200, self.paths["/props"], {}, self.name)
        return await super().get(path)

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        self._awake(body.get("model"))
        return super().answer(path, body)

    def events(self, body: Mapping[str, Any]) -> Sequence[Any]:
        self._awake(body.get("model"))
        return super().events(body)

    def _awake(self, name: str | None) -> None:
        if name is None:
            raise _refused("model name is missing from the request")
        if name not in self.names:
            raise _refused(f"model '{name}' not found")
        if name not in self.loaded:
            if not self.autoload:
                raise _refused("model is not loaded")
            self.loaded.append(name)

    def _offer(self, name: str) -> dict[str, Any]:
        entry = {"id": name, "object": "model", "owned_by": "llamacpp",
                 "status": {"value": "loaded" if name in self.loaded else "unloaded"}}  # fmt: skip
        if name in self.loaded:
            entry["meta"] = {"vocab_type": 2, "n_vocab": 11}
        return entry


def _refused(words: str) -> RequestRefused:
    return RequestRefused(400, None, words, "The server refused", f"400: {words}.")


async def opened(server: Any, model: str | None = None) -> Any:
    settings = ServerSettings(("http://server",), model=model)
    return await connect("tiny", server, settings, fresh=True)


ROUTERS = {
    "the only one": (RouterServer("a"), None, "a"),
    "the only loaded one": (RouterServer("a", "b", "c", loaded=["b"]), None, "b"),
    "the named one": (RouterServer("a", "b", "c", loaded=["b"]), "c", "c"),
    "a name with odd letters": (RouterServer("org/a b&c=1", "b"), "org/a b&c=1", "org/a b&c=1"),
}


@pytest.mark.parametrize(("server", "named", "taken"), ROUTERS.values(), ids=ROUTERS)
async def test_a_routers_model_is_used_with_all_that_it_says(
    server: RouterServer, named: str | None, taken: str
) -> None:
    backend = await opened(server, named)
    assert backend.dialect.traits.model == taken
    assert backend.dialect.traits.slots == 2
    assert backend.capabilities.context == 512
    assert backend.capabilities.masks
    assert TEMPLATE in backend.dialect.template
    assert all(body["model"] == taken for _, body in server.requests)
    (answer,) = [one async for one in backend.ask([Query(Path(Anchor(cut(b"Once the")), ()))])]
    assert isinstance(answer, Fact)


UNCLEAR = {
    "none loaded": RouterServer("a", "b", "c"),
    "two loaded": RouterServer("a", "b", "c", loaded=["b", "c"]),
}


@pytest.mark.parametrize("server", UNCLEAR.values(), ids=UNCLEAR)
async def test_where_several_could_be_meant_they_are_told_and_none_is_loaded(
    server: RouterServer,
) -> None:
    before = [*server.loaded]
    with pytest.raises(ModelError) as raised:
        await opened(server)
    error = raised.value
    assert (error.title, error.exit_code) == ("http://server has 3 models", 4)
    assert "a, b and c" in error.cause
    assert ("Loaded are b and c." in error.cause) == bool(before)
    example = before[0] if before else "a"
    assert f"-m 'http://server#{example}'" in error.hint
    assert not server.requests
    assert server.loaded == before


async def test_a_router_without_models_says_so() -> None:
    with pytest.raises(ModelError, match="has no model"):
        await opened(RouterServer())


async def test_a_name_that_a_router_does_not_have() -> None:
    with pytest.raises(ModelError) as raised:
        await opened(RouterServer("a", "b"), "c")
    assert "does not open the model c" in raised.value.title
    assert "model 'c' not found" in raised.value.cause
    assert "a and b" in raised.value.cause


async def test_a_router_that_loads_nothing_by_itself() -> None:
    server = RouterServer("a", "b", loaded=["b"], autoload=False)
    assert (await opened(server)).dialect.traits.model == "b"
    with pytest.raises(ModelError, match="does not open the model a") as raised:
        await opened(server, "a")
    assert "/models/load" in raised.value.hint


async def test_what_else_a_router_loads_does_not_make_it_another_one(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLTERM_STATE_DIR", str(tmp_path))
    model = RouterServer("a", "b")
    async with FaultyServer(HttpModel(model)) as server:
        settings = ServerSettings((server.url,), model="a")
        await (await open_remote("tiny", settings)).close()
        assert recall(memory_file(settings)) is not None
        model.loaded.append("b")
        model.requests.clear()
        await (await open_remote("tiny", settings)).close()
        assert not model.requests


class ManyCompletions(CompletionsServer):
    paths: ClassVar[Mapping[str, Any]] = {
        "/v1/models": {"data": [{"id": f"m{n}", "owned_by": "system"} for n in range(20)]},
    }


class ManyChats(ChatServer):
    paths: ClassVar[Mapping[str, Any]] = ManyCompletions.paths


class ManyVllm(VllmServer):
    paths: ClassVar[Mapping[str, Any]] = {
        **VllmServer.paths,
        "/v1/models": {"data": [{"id": name, "owned_by": "vllm", "root": name,
                                 "max_model_len": 512} for name in ("a", "b")]},
    }  # fmt: skip


class RenamedVllm(VllmServer):
    """One model under two names, and an adapter of it."""

    paths: ClassVar[Mapping[str, Any]] = {
        **VllmServer.paths,
        "/v1/models": {"data": [
            {"id": "a", "owned_by": "vllm", "root": "org/a", "max_model_len": 512, "parent": None},
            {"id": "b", "owned_by": "vllm", "root": "org/a", "max_model_len": 512, "parent": None},
            {"id": "tuned", "owned_by": "vllm", "root": "lora", "parent": "a"},
        ]},
    }  # fmt: skip


class ManyOllama(OllamaServer):
    paths: ClassVar[Mapping[str, Any]] = {
        **OllamaServer.paths,
        "/api/tags": {"models": [{"name": "a:latest"}, {"name": "b:latest"}]},
    }


class LoadedOllama(ManyOllama):
    paths: ClassVar[Mapping[str, Any]] = {
        **ManyOllama.paths,
        "/api/ps": {"models": [{"name": "b:latest"}]},
    }


@pytest.mark.parametrize("kind", [ManyCompletions, ManyChats, ManyVllm, ManyOllama])
async def test_no_server_with_several_models_takes_just_the_first(kind: Any) -> None:
    server = kind()
    with pytest.raises(ModelError, match="models") as raised:
        await opened(server)
    assert "-m '" in raised.value.hint
    assert not server.requests


async def test_of_many_models_the_first_are_told() -> None:
    with pytest.raises(ModelError) as raised:
        await opened(ManyCompletions())
    assert "m0, m1" in raised.value.cause
    assert "m11 and 8 more" in raised.value.cause


@pytest.mark.parametrize(("kind", "taken"), [(RenamedVllm, "a"), (LoadedOllama, "b:latest")])
async def test_what_can_only_be_one_is_taken(kind: Any, taken: str) -> None:
    assert (await opened(kind())).dialect.traits.model == taken


class StrictCompletions(CompletionsServer):
    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if body["model"] != "davinci-002":
            words = f"The model `{body['model']}` does not exist"
            raise RequestRefused(404, None, words, "The server refused", words)
        return super().answer(path, body)


async def test_a_name_that_a_server_refuses_is_answered_by_those_it_lists() -> None:
    with pytest.raises(RequestRefused) as raised:
        await opened(StrictCompletions(), "no-such")
    assert raised.value.hint == "It lists davinci-002; no-such is not among them."


async def test_an_address_names_a_model_behind_a_number_sign() -> None:
    model = RouterServer("org/one", "two")
    async with FaultyServer(HttpModel(model)) as server:
        backend = await open_model(f"{server.url}#org/one", Config())
        assert backend.name == f"{server.url}#org/one"
        assert model.loaded == ["org/one"]
        await backend.close()
    known = find_model("http://127.0.0.1:1#two", Config())
    assert known.settings.server is not None
    assert known.settings.server.base_url == ("http://127.0.0.1:1",)
    assert known.settings.server.model == "two"
    # In the configuration the name has a place of its own.
    assert "#" in address_mistake("http://127.0.0.1:1#two")


class TransformersServer(CompletionsServer):
    """transformers serve 5.19: its list of models fails for a folder, and it ignores `logprobs`."""

    paths: ClassVar[Mapping[str, Any]] = {}

    async def get(self, path: str) -> Reply:
        if path == "/v1/models":
            raise ServerFailed(500, "the server failed", "500: Internal Server Error.")
        return await super().get(path)

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        if path == "/v1/chat/completions":
            # A model without a template.
            raise ServerFailed(500, "the server failed", "500: Internal Server Error.")
        if body["model"] == "default_model":
            raise _refused("default_model is not a valid model identifier")
        return {"choices": [{"index": 0, "text": " king", "finish_reason": "length"}]}


async def test_a_server_without_probabilities_says_so_and_what_to_do_instead() -> None:
    with pytest.raises(CapabilityMissing) as raised:
        await opened(TransformersServer(), "hf/fable")
    assert raised.value.title == "This server gives no probabilities"
    assert "vLLM" in raised.value.hint
    assert ".gguf" in raised.value.hint


async def test_a_list_of_models_that_fails_is_answered_by_how_to_name_one() -> None:
    with pytest.raises(ServerFailed) as raised:
        await opened(TransformersServer())
    assert raised.value.exit_code == 3
    assert "/v1/models" in raised.value.cause
    assert "-m 'http://server#NAME'" in raised.value.hint
