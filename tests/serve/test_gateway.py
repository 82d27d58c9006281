"""Models on real llama.cpp servers, served as those of files are, beside one in this process."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from llterm.backends.registry import find_model
from llterm.config import Config, ModelConfig
from llterm.config.server_settings import ServerSettings
from llterm.core.weave_settings import WeaveSettings
from llterm.jobs.request import Request
from llterm.jobs.suggest import suggest
from llterm.serve.model_opener import ModelOpener, ModelSource
from llterm.serve.model_pool import ModelPool
from llterm.serve.pooled_model import PooledModel
from llterm.serve.request_rules import RequestRules
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.model_processes import LIMITS
from tests.helpers.polling import until
from tests.helpers.served_api import ServedApi, served_pool
from tests.helpers.served_model import impatient
from tests.helpers.server_process import Process
from tests.helpers.suggested import texts

pytestmark = [pytest.mark.server, pytest.mark.asyncio(loop_scope="module")]

COMPLETIONS, CHATS = "/v1/completions", "/v1/chat/completions"
BODY: Mapping[str, Any] = {"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0}
CHAT = [{"role": "user", "content": "A story of a cat"}]
ROUNDING = 0.02
"""Between the figures of a server and those in process."""
TOOL = {"type": "function", "function": {
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}},
                   "required": ["city"], "additionalProperties": False},
}}  # fmt: skip


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Process, Process]]:
    """Two of the same model."""
    both = Process({"endpoint_metrics": True}), Process({"endpoint_metrics": True})
    for process in both:
        process.start()
    yield both
    for process in both:
        process.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(servers: tuple[Process, Process]) -> AsyncIterator[ServedApi]:
    """`near` is a file's, `far` on one server, `both` on two; at `dead` nobody listens."""
    first, second = (process.address for process in servers)

    def at(*addresses: str) -> ModelConfig:
        return ModelConfig(server=ServerSettings(addresses, chat_template="chatml"))

    near = ModelConfig(path=BUNDLED, threads=1, chat_template="chatml")
    models = {"near": near, "far": at(first), "both": at(first, second),
              "dead": at("http://127.0.0.1:9")}  # fmt: skip
    config = Config(models=models)
    known = [find_model(name, config) for name in models]
    pool = ModelPool(
        [PooledModel(each, [ModelSource(each)]) for each in known],
        {"cluster": "both"},
        ModelOpener(config, LIMITS),
    )
    try:
        async with served_pool(pool, RequestRules(limits=LIMITS)) as opened:
            yield opened
    finally:
        await pool.close()


async def predicted(process: Process) -> int:
    """Tokens that a server drew so far."""
    async with httpx2.AsyncClient() as client:
        text = (await client.get(f"{process.address}/metrics")).text
    (count,) = re.findall(r"^llamacpp:tokens_predicted_total (\d+)$", text, re.M)
    return int(count)


async def test_the_same_requests_have_the_same_answers(api: ServedApi) -> None:
    for asked in (BODY, {**BODY, "logprobs": 3}, {**BODY, "prompt": ["The cat", "A king"]},
                  {**BODY, "stop": [" a"]}, {**BODY, "echo": True, "logprobs": 1}):  # fmt: skip
        near = await api.ask(COMPLETIONS, model="near", **asked)
        far = await api.ask(COMPLETIONS, model="far", **asked)
        for own, other in zip(near["choices"], far["choices"], strict=True):
            assert (own["text"], own["finish_reason"]) == (other["text"], other["finish_reason"])
            if own["logprobs"]:
                own, other = own["logprobs"], other["logprobs"]
                assert own["token_logprobs"] == pytest.approx(other["token_logprobs"], abs=ROUNDING)
                assert own["tokens"] == other["tokens"]
        assert near["usage"]["completion_tokens"] == far["usage"]["completion_tokens"]
    # What a server rounds otherwise in other company changes the order of the least probable.
    drawn = {"prompt": "The", "max_tokens": 6, "seed": 5, "n": 2, "top_k": 5}
    far = await api.ask(COMPLETIONS, model="far", **drawn)
    assert far["choices"][0]["text"] != far["choices"][1]["text"]
    again = await api.ask(COMPLETIONS, model="far", **drawn)
    assert again["choices"] == far["choices"]
    parts = await api.streamed(COMPLETIONS, model="far", **drawn)
    for index, choice in enumerate(far["choices"]):
        told = [each for part in parts for each in part["choices"] if each["index"] == index]
        assert "".join(each["text"] for each in told) == choice["text"]


async def test_chats_are_written_by_its_template_and_tools_are_called(api: ServedApi) -> None:
    asked = {"messages": CHAT, "max_tokens": 8, "temperature": 0}
    near = await api.ask(CHATS, model="near", **asked)
    far = await api.ask(CHATS, model="far", **asked)
    assert near["choices"][0]["message"] == far["choices"][0]["message"]
    assert near["usage"]["prompt_tokens"] == far["usage"]["prompt_tokens"]
    called = await api.ask(CHATS, model="far", messages=CHAT, tools=[TOOL], max_tokens=120,
                           tool_choice="required", parallel_tool_calls=False)  # fmt: skip
    (choice,) = called["choices"]
    assert choice["finish_reason"] == "tool_calls"
    for call in choice["message"]["tool_calls"]:
        assert call["function"]["name"] == "weather"
        assert json.loads(call["function"]["arguments"])["city"] in ("Rome", "Oslo")


async def test_a_server_is_asked_for_no_embeddings(api: ServedApi) -> None:
    status, error = await api.refused("/v1/embeddings", model="far", input="a")
    assert (status, error["code"]) == (400, "unsupported_by_model")


async def test_a_mix_of_one_here_and_one_there(api: ServedApi) -> None:
    mixed = await api.ask(COMPLETIONS, model="mix:near+far", logprobs=1, **BODY)
    alone = await api.ask(COMPLETIONS, model="near", logprobs=1, **BODY)
    assert mixed["choices"][0]["text"] == alone["choices"][0]["text"]
    assert mixed["choices"][0]["logprobs"]["token_logprobs"] == pytest.approx(
        alone["choices"][0]["logprobs"]["token_logprobs"], abs=ROUNDING
    )


async def test_a_tree_through_the_gateway_is_the_one_that_its_server_gives(
    api: ServedApi, servers: tuple[Process, Process]
) -> None:
    config = Config(weave=WeaveSettings(depth=3, beams=5, heal=False))
    through, direct = [
        texts(await suggest(Request(config, (name,), b"Once upon a time there")))
        for name in (f"{api.address}#far", servers[0].address)
    ]
    assert through.keys() == direct.keys()
    assert through == pytest.approx(direct, abs=ROUNDING)


async def test_who_leaves_has_nothing_drawn_any_more(
    api: ServedApi, servers: tuple[Process, Process]
) -> None:
    model = api.state.models.get("far")
    asked = {**BODY, "model": "far", "max_tokens": 400, "stream": True}
    async with api.client.stream("POST", COMPLETIONS, json=asked) as answer:
        async for _ in answer.aiter_lines():
            break
    await until(lambda: not model.requests)
    count = await predicted(servers[0])
    await api.ask(COMPLETIONS, model="near", **BODY)
    assert await predicted(servers[0]) == count < 400


async def test_two_servers_share_the_requests_and_one_takes_over_where_the_other_is_gone(
    api: ServedApi, servers: tuple[Process, Process]
) -> None:
    asked = {**BODY, "max_tokens": 30}
    alone = (await api.ask(COMPLETIONS, model="far", **asked))["choices"][0]["text"]
    before = [await predicted(process) for process in servers]
    answers = await asyncio.gather(
        *(api.ask(COMPLETIONS, model="cluster", **asked) for _ in range(4))
    )
    assert {answer["choices"][0]["text"] for answer in answers} == {alone}
    drawn = [await predicted(each) - count for each, count in zip(servers, before, strict=True)]
    assert min(drawn) >= 30
    text = ""
    async with api.client.stream(
        "POST", COMPLETIONS, json={**asked, "model": "both", "stream": True}
    ) as answer:
        async for line in answer.aiter_lines():
            if not line.startswith("data: {"):
                continue
            part = json.loads(line.removeprefix("data: "))
            if not text:
                servers[1].kill()
            text += part["choices"][0]["text"]
    assert text == alone


async def test_a_server_that_is_gone_is_said_with_its_cause_and_not_where_it_was(
    api: ServedApi, servers: tuple[Process, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    await api.ask(COMPLETIONS, model="far", **BODY)
    servers[0].kill()
    for name in ("far", "dead"):
        status, error = await api.refused(COMPLETIONS, **BODY, model=name)
        assert (status, error["code"]) == (503, "model_unavailable")
        assert "Connection refused" in error["message"]
        assert "127.0.0.1" not in error["message"]
        assert "?." not in error["message"]
    await api.ask(COMPLETIONS, model="near", **BODY)
    servers[0].start()
    again = await api.ask(COMPLETIONS, model="far", **BODY)
    assert again["choices"][0]["text"]
