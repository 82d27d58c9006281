"""Several models of a server answer as one: agents with a master, and mixes of distributions."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.backends.scripted import ScriptedBackend
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.served_api import ServedApi, served

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATH = "/v1/chat/completions"
ASKED = [{"role": "user", "content": "A story of a cat"}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api() -> AsyncIterator[ServedApi]:
    """The bundled model twice, one with little room, and the scripted one."""
    models = [
        await open_llama(BUNDLED, LlamaSettings(threads=1, context=c, chat_template=t), name=n)
        for n, c, t in (("fable", 1024, "chatml"), ("twin", 1024, "plain"), ("small", 64, "chatml"))
    ]
    scripted = ScriptedBackend()
    async with served(*models, scripted) as opened:
        yield opened
    for model in models:
        await model.close()


async def test_a_master_makes_its_answer_of_the_agents(api: ServedApi) -> None:
    agents = ["twin", {"model": "fable", "thinking_template": "<t>{why}</t>"}]
    body = {"model": "fable", "messages": ASKED, "seed": 1, "max_tokens": 24,
            "mixture_of_agents": {"agent_list": agents}}  # fmt: skip
    before = api.state.counts.requests
    answer = await api.ask(PATH, **body)
    told = answer["mixture_of_agents"]
    assert [each["model"] for each in told] == ["twin", "fable"]
    alone = await api.ask(PATH, model="twin", messages=ASKED, seed=1, max_tokens=24)
    assert told[0]["content"] == alone["choices"][0]["message"]["content"]
    assert answer["model"] == "fable"
    assert answer["choices"][0]["message"]["content"]
    assert api.state.counts.requests == before + 4
    agent, used = alone["usage"], answer["usage"]
    assert used["completion_tokens"] > agent["completion_tokens"]
    assert used["prompt_tokens"] > 2 * agent["prompt_tokens"], "those of three chats"
    assert used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"]
    *parts, last = await api.streamed(PATH, **body, stream_options={"include_usage": True})
    assert last["usage"]["total_tokens"] == used["total_tokens"]
    first, *others = parts
    assert first["mixture_of_agents"] == told
    assert not any("mixture_of_agents" in part for part in others)
    deltas = [part["choices"][0]["delta"].get("content") or "" for part in (first, *others)]
    assert "".join(deltas) == answer["choices"][0]["message"]["content"]


async def test_an_agent_that_fails_is_left_out_and_said(api: ServedApi) -> None:
    long = [{"role": "user", "content": "A story of a cat. " * 20}]
    body = {"model": "fable", "messages": long, "max_tokens": 8, "seed": 1, "ignore_eos": True}
    answer = await api.ask(PATH, **body, mixture_of_agents={"agent_list": ["small", "twin"]})
    small, twin = answer["mixture_of_agents"]
    assert "does not fit" in small["error"]
    assert twin["content"]
    assert answer["choices"][0]["message"]["content"]
    status, error = await api.refused(PATH, **body, mixture_of_agents={"agent_list": ["small"]})
    assert (status, error["code"]) == (400, "context_length_exceeded")
    status, error = await api.refused(PATH, **body, mixture_of_agents={"agent_list": ["none"]})
    assert (status, error["param"]) == (404, "model")


async def test_a_mix_draws_from_the_mean_of_its_models(api: ServedApi) -> None:
    body = {"prompt": "Once upon a time", "max_tokens": 12, "seed": 3, "temperature": 0.7}
    answer = await api.ask("/v1/completions", model="mix:fable+scripted", **body)
    assert answer["model"] == "mix:fable+scripted"
    assert answer["choices"][0]["text"]
    again = await api.ask("/v1/completions", model="mix:fable+scripted", **body)
    assert again["choices"] == answer["choices"]
    same = await api.ask("/v1/completions", model="mix:fable+twin", logprobs=3, **body)
    alone = await api.ask("/v1/completions", model="fable", logprobs=3, **body)
    assert same["choices"][0]["text"] == alone["choices"][0]["text"]
    mixed, single = (answer["choices"][0]["logprobs"]["token_logprobs"] for answer in (same, alone))
    np.testing.assert_allclose(mixed, single, atol=0.02)


async def test_a_mix_answers_chats_each_model_by_its_own_template(api: ServedApi) -> None:
    body = {"model": "mix:fable+twin", "messages": ASKED, "max_tokens": 8, "seed": 1}
    answer = await api.ask(PATH, **body)
    assert answer["choices"][0]["message"]["content"]
    parts = await api.streamed(PATH, **body)
    told = "".join(part["choices"][0]["delta"].get("content") or "" for part in parts)
    assert told == answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize("name", ["mix:", "mix:fable", "mix:fable+", "mix:fable+none",
                                  "mix:fable+mix:twin+small", "mix:fable+fable"])  # fmt: skip
async def test_what_is_no_mix_is_not_found(api: ServedApi, name: str) -> None:
    status, error = await api.refused("/v1/completions", model=name, prompt="a")
    assert (status, error["param"]) == (404, "model")
