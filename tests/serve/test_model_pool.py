"""Several models of one server: loaded when asked for, let go; none disturbs another."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from llterm.backends.registry import find_model
from llterm.backends.remote.api_keys import Secret
from llterm.backends.scripted import ScriptedBackend
from llterm.config import Config, ModelConfig
from llterm.config.server_settings import ServerSettings
from llterm.core.weave_settings import WeaveSettings
from llterm.errors import ModelError
from llterm.jobs.request import Request
from llterm.jobs.suggest import suggest
from llterm.serve.api_errors import ApiError
from llterm.serve.application import Access
from llterm.serve.model_administration import OfferedNames
from llterm.serve.model_opener import ModelOpener, ModelSource
from llterm.serve.model_pool import ModelPool
from llterm.serve.model_process import ModelProcess
from llterm.serve.pooled_model import PooledModel
from llterm.serve.request_rules import RequestRules
from llterm.serve.serve_limits import ServeLimits
from llterm.serve.served_models import ServedModel, served_model
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.faulty_server import FaultyServer
from tests.helpers.http_model import HttpModel
from tests.helpers.model_processes import LIMITS
from tests.helpers.polling import until
from tests.helpers.served_api import ServedApi, served_pool, told
from tests.helpers.suggested import texts
from tests.helpers.wide_servers import WholeServer

PATH = "/v1/completions"
BODY: Mapping[str, Any] = {"prompt": "The old", "max_tokens": 2, "seed": 1}
CONFIG = Config(models={name: ModelConfig(path=BUNDLED, threads=1) for name in "abcd"})
ADMIN = {"X-Api-Key": "operator"}


class GatedOpener(ModelOpener):
    """Opens the scripted model under any name, each once its gate is open; each takes 10 bytes."""

    def __init__(self, limits: ServeLimits) -> None:
        super().__init__(CONFIG, limits)
        self.opened: list[str] = []
        self.cores: list[int] = []
        self.gates: dict[str, asyncio.Event] = {}
        self.broken: set[str] = set()
        self.held: dict[str, Callable[[], Awaitable[Any]]] = {}
        """What a model waits for at every answer."""

    def memory(self, source: ModelSource) -> int:
        return 10

    async def open(
        self, source: ModelSource, cores: int, progress: Callable[[float], None]
    ) -> ServedModel:
        name = source.known.name
        self.opened.append(name)
        self.cores.append(cores)
        progress(0.5)
        if gate := self.gates.get(name):
            await gate.wait()
        if name in self.broken:
            raise ModelError(f"{BUNDLED.name} is damaged", f"{BUNDLED} ends early.", "")
        return served_model(name, ScriptedBackend(self.held.get(name)), self.limits)


def unloaded(*names: str) -> list[PooledModel]:
    """Models of that configuration; one that is named several times has as many replicas."""
    models: dict[str, PooledModel] = {}
    for name in names:
        known = find_model(name, CONFIG)
        models.setdefault(name, PooledModel(known, [])).sources.append(ModelSource(known))
    return list(models.values())


@asynccontextmanager
async def pooled(
    names: Sequence[str], opener: ModelOpener, memory: int | None = None
) -> AsyncIterator[ServedApi]:
    """A server of these models, none of them loaded; its operator's key is `ADMIN`'s."""
    pool = ModelPool(unloaded(*names), {}, opener, memory)
    access = Access(keys=(Secret("client"),), admin_keys=(Secret("operator"),))
    rules = RequestRules(limits=opener.limits)
    headers = {"X-Api-Key": "client"}
    try:
        async with served_pool(
            pool, rules, access, offered=OfferedNames(CONFIG), headers=headers
        ) as api:
            yield api
    finally:
        await pool.close()


def gated(**limits: Any) -> GatedOpener:
    return GatedOpener(ServeLimits(drain_seconds=0, **limits))


async def ordered(api: ServedApi, path: str, body: Any, status: int = 200) -> Any:
    """What the operator's question is answered."""
    answer = await api.client.post(path, json=body, headers=ADMIN)
    assert answer.status_code == status, answer.text
    return answer.json()


async def seen(api: ServedApi, path: str) -> Any:
    answer = await api.client.get(path, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def states(api: ServedApi) -> dict[str, str]:
    models = (await seen(api, "/v1/llterm/admin/models"))["data"]
    return {model["model"]: model["state"] for model in models}


def asked(api: ServedApi, model: str, **body: Any) -> asyncio.Task[Any]:
    return asyncio.create_task(api.ask(PATH, **{**BODY, "model": model, **body}))


async def test_a_model_is_loaded_for_the_first_request_which_health_tells_of() -> None:
    opener = gated()
    opener.gates["b"] = asyncio.Event()
    async with pooled("ab", opener) as api:
        assert await states(api) == {"a": "unloaded", "b": "unloaded"}
        assert (await api.client.get("/health")).json() == {"status": "ok"}
        await api.ask(PATH, **BODY)
        waiting = [asked(api, "b"), asked(api, "b")]
        await until(lambda: api.state.models.get("b").waiting == 2)
        health = await api.client.get("/health")
        assert (health.status_code, health.json()) == (
            200, {"status": "ok", "loading": 1, "waiting": 2},
        )  # fmt: skip
        (load, *_) = (await seen(api, "/v1/llterm/admin/queue"))["data"]
        assert (load["model"], load["state"], load["progress"]) == ("b", "loading", 0.5)
        opener.gates["b"].set()
        for answer in await asyncio.gather(*waiting):
            assert answer["model"] == "b"
        assert opener.opened == ["a", "b"]
        listed = (await api.client.get("/v1/models")).json()["data"]
        assert [each["status"]["value"] for each in listed] == ["loaded", "loaded"]


async def test_the_model_that_was_used_longest_ago_makes_room() -> None:
    opener = gated()
    async with pooled("abc", opener, memory=20) as api:
        for name in "abab":
            await api.ask(PATH, **BODY, model=name)
        await api.ask(PATH, **BODY, model="c")
        assert await states(api) == {"a": "unloaded", "b": "loaded", "c": "loaded"}
        await api.ask(PATH, **BODY, model="a")
        assert await states(api) == {"a": "loaded", "b": "unloaded", "c": "loaded"}
        assert opener.opened == ["a", "b", "c", "a"]


async def test_a_model_in_use_ends_what_it_draws_before_it_makes_room() -> None:
    opener, go_on = gated(), asyncio.Event()
    opener.held["a"] = go_on.wait
    async with pooled("ab", opener, memory=10) as api:
        first = asked(api, "a", max_tokens=5, ignore_eos=True)
        await until(lambda: api.state.models.get("a").requests)
        other = asked(api, "b")
        await until(lambda: api.state.models.get("a").state == "unloading")
        again = asked(api, "a")
        await until(lambda: api.state.models.get("a").waiting)
        go_on.set()
        assert (await first)["usage"]["completion_tokens"] == 5
        assert (await other)["model"] == "b"
        assert (await again)["model"] == "a"
        assert opener.opened == ["a", "b", "a"]


async def test_models_that_do_not_fit_together_take_turns_without_a_load_in_vain() -> None:
    opener = gated()
    async with pooled("abc", opener, memory=10) as api:
        opener.gates |= {name: asyncio.Event() for name in "abc"}
        tasks = [asked(api, name) for _ in range(4) for name in "abc"]
        await until(lambda: sum(model.waiting for model in api.state.models.models) == 12)
        for gate in opener.gates.values():
            gate.set()
        await asyncio.gather(*tasks)
        assert sorted(opener.opened) == ["a", "b", "c"]


async def test_a_mix_that_can_never_be_there_is_refused_at_once_without_a_load() -> None:
    opener = gated()
    async with pooled("ab", opener, memory=10) as api:
        status, error = await api.refused(PATH, **BODY, model="mix:a+b")
        assert (status, error["code"]) == (503, "model_unavailable")
        assert "together" in error["message"]
        assert "--models-memory" in error["message"]
        assert opener.opened == []


async def test_mixes_wait_for_each_other_and_none_for_what_it_needs_itself() -> None:
    """Two have room at once. Who held a model while its other one is loaded would wait for ever."""
    opener = gated()
    async with pooled("abcd", opener, memory=20) as api:
        for name in "abab":
            await api.ask(PATH, **BODY, model=name)
        mixed = [asked(api, f"mix:{names}") for names in ("a+c", "b+d", "c+b", "d+a", "c+d")]
        for answer in await asyncio.gather(*mixed):
            assert answer["choices"][0]["text"]


async def test_what_a_mix_needs_is_not_let_go_for_the_rest_of_it() -> None:
    opener = gated()
    async with pooled("abc", opener, memory=20) as api:
        for name in "ab":
            await api.ask(PATH, **BODY, model=name)
        await api.ask(PATH, **BODY, model="mix:a+c")
        assert await states(api) == {"a": "loaded", "b": "unloaded", "c": "loaded"}
        assert opener.opened == ["a", "b", "c"]


async def test_a_load_that_is_ordered_right_after_another_was_given_up_is_its_own() -> None:
    opener = gated()
    opener.gates["a"] = asyncio.Event()
    async with pooled("a", opener) as api:
        body = {"models": [{"model": "a"}]}
        (first,) = (await ordered(api, "/v1/llterm/admin/load", body))["data"]
        await until(lambda: opener.opened == ["a"])
        pool = api.state.models
        unloading = asyncio.create_task(pool.unload(pool.get("a")))
        await asyncio.sleep(0)
        second = pool.order(pool.get("a"))
        await unloading
        opener.gates["a"].set()
        await second.ended.wait()
        told = {load.id: load.state for load in pool.loads}
        assert told == {first["id"]: "cancelled", second.id: "done"}
        await api.ask(PATH, **BODY)


async def test_a_model_that_is_removed_under_those_who_wait_stays_away() -> None:
    opener, go_on = gated(), asyncio.Event()
    opener.held["a"] = go_on.wait
    async with pooled("ab", opener) as api:
        drawing = asked(api, "a")
        pool = api.state.models
        model = pool.get("a")
        await until(lambda: model.requests)
        removing = asyncio.create_task(pool.remove(model))
        await asyncio.sleep(0)
        with pytest.raises(ApiError, match="There is no model a"):
            async with pool.used([model]):
                raise AssertionError("it is served no more")
        go_on.set()
        await removing
        assert (await drawing)["model"] == "a"
        assert opener.opened == ["a"]
        assert pool.loaded == []
        assert pool.memory == 0


def test_what_lies_on_gpus_takes_none_of_the_memory_and_nothing_else_is_free_of_it() -> None:
    opener, known = ModelOpener(CONFIG, LIMITS), find_model("a", CONFIG)

    def taken(**settings: Any) -> int:
        return opener.memory(ModelSource(known, settings))

    assert taken(gpu_layers="auto") == taken(), "no GPU is here"
    assert taken(gpu_layers=7) == taken(gpus=(22.0,)) == 0
    assert 0 < taken(gpu_layers=6) < taken(gpu_layers=1) < taken()


async def test_what_never_fits_is_refused_and_says_so_to_the_operator_alone() -> None:
    opener = gated()
    async with pooled("ab", opener, memory=5) as api:
        status, error = await api.refused(PATH, **BODY)
        assert (status, error["code"]) == (503, "model_unavailable")
        assert "MB" not in error["message"]
        (load, *_) = (await seen(api, "/v1/llterm/admin/queue"))["data"]
        assert load["state"] == "failed"
        assert "does not fit" in load["error"]
        assert opener.opened == []


async def test_a_model_that_cannot_be_loaded_leaves_others_alone_and_is_tried_again() -> None:
    opener = gated()
    opener.broken.add("b")
    async with pooled("ab", opener) as api:
        status, error = await api.refused(PATH, **BODY, model="b")
        assert (status, error["code"]) == (503, "model_unavailable")
        assert str(BUNDLED.parent) not in error["message"]
        told_operator = await seen(api, "/v1/llterm/admin/models")
        assert "damaged" in told_operator["data"][1]["error"]
        assert str(BUNDLED.parent) not in str(told_operator)
        assert (await api.client.get("/health")).json() == {"status": "ok", "failed": 1}
        await api.ask(PATH, **BODY, model="a")
        opener.broken.clear()
        await api.ask(PATH, **BODY, model="b")


async def test_a_request_that_left_has_nothing_loaded() -> None:
    opener = gated(queue=1)
    opener.gates["a"] = asyncio.Event()
    async with pooled("ab", opener) as api:
        first, second = asked(api, "a"), asked(api, "b")
        await until(lambda: api.state.models.get("b").waiting)
        status, error = await api.refused(PATH, **BODY, model="b")
        assert (status, error["code"]) == (429, "queue_full")
        second.cancel()
        await until(lambda: not api.state.models.get("b").waiting)
        opener.gates["a"].set()
        await first
        await until(lambda: api.state.models.get("b").load is None)
        assert opener.opened == ["a"]


async def test_replicas_share_the_requests() -> None:
    opener, go_on = gated(), asyncio.Event()
    opener.held["a"] = go_on.wait
    async with pooled("aab", opener) as api:
        model = api.state.models.get("a")
        tasks = [asked(api, "a") for _ in range(6)]
        await until(lambda: model.requests == 6)
        assert [replica.requests for replica in model.replicas] == [3, 3]
        go_on.set()
        await asyncio.gather(*tasks)
        assert opener.opened == ["a", "a"]


async def test_an_operator_loads_and_unloads_by_name_with_settings() -> None:
    opener = gated()
    async with pooled("a", opener) as api:
        body = {"models": [{"model": "b", "settings": {"context": 512, "gpus": [1, 2.5]}},
                           {"model": "a", "replicas": 2}]}  # fmt: skip
        loads = (await ordered(api, "/v1/llterm/admin/load", body))["data"]
        assert [load["model"] for load in loads] == ["b", "a"]
        await until(lambda: all(load.state == "done" for load in api.state.models.loads))
        assert opener.opened == ["b", "a", "a"]
        models = {each["model"]: each for each in (
            await seen(api, "/v1/llterm/admin/models"))["data"]}  # fmt: skip
        assert models["b"]["replicas"][0]["settings"] == {"context": 512, "gpus": [1.0, 2.5]}
        assert [models["a"]["memory"], models["b"]["memory"]] == [20, 10]
        again = {"models": [{"model": "b", "settings": {"context": 256}}]}
        assert (await ordered(api, "/v1/llterm/admin/load", again, 409))["error"]["code"] == (
            "already_loaded"
        )
        await ordered(api, "/v1/llterm/admin/unload", {"model": "b"})
        assert (await states(api))["b"] == "unloaded"
        await ordered(api, "/v1/llterm/admin/load", again)
        await api.ask(PATH, **BODY, model="b")
        assert api.state.models.get("b").sources[0].settings == {"context": 256}
        await ordered(api, "/v1/llterm/admin/unload", {"model": "b", "remove": True})
        status, error = await api.refused(PATH, **BODY, model="b")
        assert (status, error["code"]) == (404, "model_not_found")


async def test_gallamas_addresses_do_so_in_its_words() -> None:
    opener = gated()
    async with pooled("a", opener) as api:
        body = [{"model_id": "b", "gpus": [22, 22, 4, 0], "cache_size": 32768},
                {"model_name": "c", "cache_quant": "Q8", "max_seq_len": 1024},
                {"model_id": "c"}]  # fmt: skip
        task = (await ordered(api, "/add_model", body))["task_id"]
        await until(lambda: all(load.state == "done" for load in api.state.models.loads))
        assert (await seen(api, f"/task_status/{task}"))["status"] == "completed"
        pool = api.state.models
        assert pool.get("b").sources[0].settings == {
            "gpus": (22.0, 22.0, 4.0, 0.0), "cache_size": 32768,
        }  # fmt: skip
        assert [source.settings for source in pool.get("c").sources] == [
            {"kv_type": "q8_0", "context": 1024}
        ] * 2
        await ordered(api, "/remove_model", {"model_id": "c"})
        assert pool.find("c") is None
        for unknown in ({"model_id": "a", "env": {"A": "1"}}, {"gpus": [1]}):
            await ordered(api, "/add_model", unknown, 400)
        assert (await api.client.get("/task_status/x", headers=ADMIN)).status_code == 404


@pytest.mark.parametrize(
    "name",
    [str(BUNDLED), f"file://{BUNDLED}", "http://127.0.0.1:1", "../a", "./a", "owner/name:Q4_K_M"],
)
async def test_no_path_and_no_address_names_a_model(name: str) -> None:
    opener = gated()
    async with pooled("a", opener) as api:
        for path, body in (("/v1/llterm/admin/load", {"models": [{"model": name}]}),
                           ("/add_model", {"model_id": name}),
                           ("/v1/llterm/admin/unload", {"model": name})):  # fmt: skip
            error = (await ordered(api, path, body, 404))["error"]
            assert error["code"] == "model_not_found"
        assert (await api.refused(PATH, **BODY, model=name))[0] == 404
        assert opener.opened == []


async def test_only_the_operators_key_opens_the_operators_addresses_and_no_other() -> None:
    async with pooled("a", gated()) as api:
        for key, path, status in (
            ("client", "/v1/llterm/admin/models", 401),
            ("", "/task_status/x", 401),
            ("operator", "/v1/models", 401),
            ("operator", "/v1/llterm/admin/models", 200),
        ):
            answer = await api.client.get(path, headers={"X-Api-Key": key})
            assert answer.status_code == status, path
    pool = ModelPool(unloaded("a"), {}, gated())
    async with served_pool(pool, RequestRules()) as api:
        for path in ("/v1/llterm/admin/models", "/v1/llterm/admin/queue", "/task_status/x"):
            status, error = told(await api.client.get(path, headers=ADMIN))
            assert (status, error["code"]) == (404, "not_found")
        assert (await api.refused("/add_model", model_id="a"))[0] == 404


async def test_streams_of_one_model_stay_whole_while_another_is_loaded_killed_and_unloaded() -> (
    None
):
    """Both in processes of their own: of each stream every token is counted."""
    opener = ModelOpener(CONFIG, LIMITS)
    ended = asyncio.Event()
    whole: list[int] = []
    async with pooled("ab", opener) as api:

        async def keep_asking(seed: int) -> None:
            while not ended.is_set():
                body = {**BODY, "max_tokens": 40, "ignore_eos": True, "seed": seed, "model": "a",
                        "stream_options": {"include_usage": True}}  # fmt: skip
                parts = await api.streamed(PATH, **body)
                assert not any("error" in part for part in parts)
                whole.append(parts[-1]["usage"]["completion_tokens"])

        async def drawn(model: str) -> bool:
            answer = await api.client.post(PATH, json={**BODY, "model": model})
            assert answer.status_code in (200, 503), answer.text
            return answer.status_code == 200

        await api.ask(PATH, **BODY, model="a")
        asking = [asyncio.create_task(keep_asking(seed)) for seed in range(3)]
        assert await drawn("b")
        (backend,) = [replica.model.backend for replica in api.state.models.get("b").replicas]
        assert isinstance(backend, ModelProcess)
        os.kill(backend.pid, signal.SIGKILL)
        await until(lambda: backend.state == "loading")
        assert await drawn("b"), "it waits until the model is there again"
        streams = [asyncio.create_task(drawn("b")) for _ in range(3)]
        await ordered(api, "/v1/llterm/admin/unload", {"model": "b"})
        assert all(await asyncio.gather(*streams))
        count = len(whole)
        await until(lambda: len(whole) > count)
        ended.set()
        await asyncio.gather(*asking)
    assert set(whole) == {40}


async def test_another_llterm_has_a_model_loaded_that_it_names() -> None:
    opener = ModelOpener(CONFIG, LIMITS)
    pool = ModelPool(unloaded("a", "b"), {"second": "b"}, opener)
    try:
        async with served_pool(pool, RequestRules(limits=LIMITS)) as api:
            weave = WeaveSettings(depth=2, beams=4)
            request = Request(Config(weave=weave), (f"{api.address}#second",), b"The old")
            alone = Request(Config(weave=weave), ("fable",), b"The old")
            assert texts(await suggest(request)) == texts(await suggest(alone))
            assert [model.state for model in pool.models] == ["unloaded", "loaded"]
    finally:
        await pool.close()


async def test_a_model_on_a_server_is_served_through_the_same_face() -> None:
    """A llama.cpp server's, asked for by name, with a tree on top."""
    async with FaultyServer(HttpModel(WholeServer())) as server:
        address = server.url
        behind = ModelConfig(server=ServerSettings((address,)))
        config = Config(models={"behind": behind, "a": CONFIG.models["a"]})
        limits = ServeLimits(drain_seconds=0)
        models = [
            PooledModel(known, [ModelSource(known)])
            for known in (find_model(name, config) for name in ("behind", "a"))
        ]
        pool = ModelPool(models, {}, ModelOpener(config, limits), memory=1)
        try:
            async with served_pool(pool, RequestRules(limits=limits)) as api:
                body = {"prompt": "Once", "max_tokens": 3, "temperature": 0, "logprobs": 2}
                whole = await api.ask(PATH, **body, model="behind")
                choice = whole["choices"][0]
                assert len(choice["logprobs"]["token_logprobs"]) == 3
                parts = await api.streamed(PATH, **body, model="behind")
                assert "".join(part["choices"][0]["text"] for part in parts) == choice["text"]
                ids = (await api.ask("/tokenize", content="Once", model="behind"))["tokens"]
                again = await api.ask(PATH, **{**body, "prompt": ids}, model="behind")
                assert again["choices"][0]["text"] == choice["text"]
                assert (await api.client.get("/health")).json() == {"status": "ok"}
                weave = WeaveSettings(depth=2, beams=4)
                direct, through = [
                    texts(await suggest(Request(Config(weave=weave), (name,), b"Once")))
                    for name in (address, f"{api.address}#behind")
                ]
                assert through == direct
        finally:
            await pool.close()
