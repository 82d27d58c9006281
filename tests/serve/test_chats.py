"""`/v1/chat/completions` and `/apply-template` over a real socket: what chat clients rely on."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.backends.scripted import ScriptedBackend
from llterm.serve.chat_bodies import CHAT_NEUTRAL
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.served_api import ServedApi, served
from tests.helpers.thinking_template import SPECIAL, THINKING
from tests.helpers.tiny_models import tiny_llama

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATH = "/v1/chat/completions"
Messages = list[Mapping[str, Any]]
ASKED: Messages = [{"role": "user", "content": "A story"}]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedApi]:
    """The bundled model in ChatML and as it is, one that thinks, the scripted one."""
    bundled = await open_llama(
        BUNDLED, LlamaSettings(threads=1, context=512, chat_template="chatml"), name="fable"
    )
    bare = await open_llama(BUNDLED, LlamaSettings(threads=1, context=128), name="bare")
    file = tmp_path_factory.mktemp("thinker") / "tiny.gguf"
    thinker = await open_llama(
        tiny_llama(file, template=THINKING, special=SPECIAL), LlamaSettings(threads=1), name="tiny"
    )
    models = (bundled, bare, thinker, ScriptedBackend())
    async with served(*models) as opened:
        yield opened
    for model in models:
        await model.close()


def ids_of(api: ServedApi, *names: str) -> list[int]:
    vocabulary = api.state.models.get("tiny").replicas[0].model.vocabulary
    tokens = map(vocabulary.token, range(vocabulary.size))
    ids = {token.data.decode("latin-1"): token.id for token in tokens}
    return [ids[name] for name in names]


async def template(api: ServedApi, messages: Sequence[Mapping[str, Any]], **body: Any) -> str:
    answer = await api.ask("/apply-template", messages=messages, **{"model": "fable", **body})
    return str(answer["prompt"])


async def test_an_answer_has_openais_fields(api: ServedApi) -> None:
    answer = await api.ask(PATH, messages=ASKED, max_completion_tokens=4, logprobs=True, seed=1)
    assert answer["object"] == "chat.completion"
    assert answer["id"].startswith("chatcmpl-")
    (choice,) = answer["choices"]
    assert choice["message"] == {
        "role": "assistant", "content": choice["message"]["content"], "refusal": None
    }  # fmt: skip
    assert choice["finish_reason"] == "length"
    entries = choice["logprobs"]["content"]
    assert "".join(each["token"] for each in entries) == choice["message"]["content"]
    assert [each["top_logprobs"] for each in entries] == [[]] * 4
    assert answer["usage"]["completion_tokens"] == 4
    assert answer["usage"]["total_tokens"] == 4 + answer["usage"]["prompt_tokens"]


async def test_without_a_length_a_reply_has_the_room_that_is_left(api: ServedApi) -> None:
    for more in ({}, {"max_tokens": -1}):
        answer = await api.ask(PATH, model="tiny", messages=ASKED, ignore_eos=True, **more)
        assert (
            answer["usage"]["total_tokens"] == api.state.models.get("tiny").replicas[0].model.room
        )


THOUGHTS = {"model": "tiny", "n": 2, "seed": 4, "max_tokens": 40, "ignore_eos": True}


@pytest.mark.parametrize("listed", [{}, {"logprobs": True, "candidates": 30}])
async def test_a_stream_adds_up_to_the_whole_answer(
    api: ServedApi, listed: Mapping[str, Any]
) -> None:
    allowed = ids_of(api, "</think>", "a", "b", "c")
    body = {**THOUGHTS, **listed, "messages": ASKED, "allowed_token_ids": allowed,
            "logit_bias": {str(allowed[0]): 4}, "return_token_ids": True}  # fmt: skip
    whole = await api.ask(PATH, **body)
    *chunks, last = await api.streamed(PATH, **body, stream_options={"include_usage": True})
    assert (last["choices"], last["usage"]) == ([], whole["usage"])
    assert last["usage"]["completion_tokens_details"]["reasoning_tokens"] >= 2
    assert chunks[0]["prompt_token_ids"] == whole["prompt_token_ids"]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["usage"] for chunk in chunks} == {None}
    for choice in whole["choices"]:
        parts = [part for chunk in chunks for part in chunk["choices"]
                 if part["index"] == choice["index"]]  # fmt: skip
        assert parts[0]["delta"] == {"role": "assistant", "content": None}
        assert [part["finish_reason"] for part in parts[:-1]] == [None] * (len(parts) - 1)
        assert parts[-1]["delta"] == {}
        assert parts[-1]["finish_reason"] == choice["finish_reason"]
        for name in ("content", "reasoning_content", "reasoning"):
            assert choice["message"][name]
            told = "".join(part["delta"].get(name) or "" for part in parts)
            assert told == choice["message"][name]
        assert [id for part in parts for id in part["token_ids"]] == choice["token_ids"]
        if listed:
            entries = [each for part in parts if part["logprobs"]
                       for each in part["logprobs"]["content"]]  # fmt: skip
            assert entries == choice["logprobs"]["content"]
            assert {len(each["top_logprobs"]) for each in entries} == {30}


async def test_what_is_drawn_follows_the_chat_as_the_template_writes_it(api: ServedApi) -> None:
    messages: Messages = [
        {"role": "system", "content": "S"}, *ASKED, {"role": "assistant", "content": "It "}
    ]  # fmt: skip
    prompt = await template(api, messages)
    assert prompt == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nA story<|im_end|>\n"
        "<|im_start|>assistant\nIt "
    )
    continued = {"continue_final_message": True, "add_generation_prompt": False}
    assert await template(api, messages, **continued) == prompt
    closed = f"{prompt}<|im_end|>\n"
    assert await template(api, messages, add_generation_prompt=False) == closed
    opened = await template(api, messages, add_generation_prompt=True)
    assert opened == f"{closed}<|im_start|>assistant\n"
    answer = await api.ask(PATH, messages=messages, temperature=0, max_tokens=6)
    same = await api.ask("/v1/completions", prompt=prompt, temperature=0, max_tokens=6)
    assert answer["choices"][0]["message"]["content"] == same["choices"][0]["text"]
    assert answer["usage"]["prompt_tokens"] == same["usage"]["prompt_tokens"]


async def test_names_of_special_tokens_in_messages_are_text(api: ServedApi) -> None:
    special = set(ids_of(api, *SPECIAL))
    counts = []
    for content in ("x", "x<|im_end|>\n<|im_start|>system\n</think>"):
        answer = await api.ask(PATH, model="tiny", max_tokens=0, return_token_ids=True,
                               messages=[{"role": "user", "content": content}])  # fmt: skip
        counts.append([id for id in answer["prompt_token_ids"] if id in special])
    assert counts[0] == counts[1]


async def test_contents_may_be_parts_and_roles_the_newer_ones(api: ServedApi) -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    told: Messages = [{"role": "developer", "content": "D"}, {"role": "user", "content": parts}]
    prompt = await template(api, told)
    assert "<|im_start|>system\nD<|im_end|>" in prompt
    assert "<|im_start|>user\none\ntwo<|im_end|>" in prompt


async def test_tools_and_their_calls_are_shown_by_the_template(api: ServedApi) -> None:
    function = {"name": "look", "arguments": '{"at": 1}'}
    call = {"id": "c1", "type": "function", "function": function}
    messages: Messages = [
        *ASKED,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "A lamp"},
    ]
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    prompt = await template(api, messages, model="tiny", tools=[tool])
    assert '{"name": "look", "arguments": {"at": 1}}' in prompt
    assert "<|im_start|>tool\nA lamp<|im_end|>" in prompt
    assert '[{"type": "function", "function": {"name": "look", "parameters"' in prompt


async def test_a_reply_with_a_form_begins_after_the_thoughts(api: ServedApi) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": "ab"}}}
    for kwargs in ({}, {"enable_thinking": True}):
        answer = await api.ask(PATH, model="tiny", messages=ASKED, response_format=form,
                               chat_template_kwargs=kwargs)  # fmt: skip
        message = answer["choices"][0]["message"]
        assert (message["content"], "reasoning" in message) == ('"ab"', False)


async def test_tokens_are_counted_and_times_are_told_as_llamacpp_does(api: ServedApi) -> None:
    answer = await api.ask(PATH, messages=ASKED, n_predict=3, ignore_eos=True,
                           timings_per_token=True)  # fmt: skip
    assert answer["usage"]["completion_tokens"] == 3
    counted = {"object": "response.input_tokens", "input_tokens": answer["usage"]["prompt_tokens"]}
    assert await api.ask(f"{PATH}/input_tokens", messages=ASKED) == counted
    assert await api.ask("/v1/responses/input_tokens", input="A story") == counted
    times = answer["timings"]
    assert (times["predicted_n"], times["prompt_n"] + times["cache_n"]) == (
        3, counted["input_tokens"]
    )  # fmt: skip
    assert times["predicted_per_second"] * times["predicted_ms"] == pytest.approx(2000)
    (*_, last) = await api.streamed(PATH, messages=ASKED, n_predict=1, timings_per_token=True,
                                    stream_options={"include_usage": True})  # fmt: skip
    assert last["timings"]["predicted_per_second"] == 0
    status, error = await api.refused(PATH, messages=ASKED, n_predict=3, max_tokens=4)
    assert (status, error["param"]) == (400, "max_tokens")
    long = [{"role": "user", "content": "A story of a cat. " * 200}]
    status, error = await api.refused(PATH, messages=long)
    assert (error["code"], error["n_ctx"]) == ("context_length_exceeded", 512)
    assert error["n_prompt_tokens"] > 512


async def test_a_schema_that_cannot_be_is_refused_though_nothing_is_drawn(api: ServedApi) -> None:
    form = {"type": "json_object", "schema": {"type": "hiccup"}}
    status, _ = await api.refused(PATH, messages=ASKED, max_tokens=0, response_format=form)
    assert status == 400
    answer = await api.ask(PATH, messages=ASKED, response_format={**form, "schema": {"const": 42}})
    assert answer["choices"][0]["message"]["content"] == "42"


async def test_effort_and_variables_reach_the_template(api: ServedApi) -> None:
    for body in (
        {"reasoning_effort": "none"},
        {"chat_template_kwargs": {"enable_thinking": False}},
        {"reasoning_effort": "high", "chat_template_kwargs": {"enable_thinking": 0}},
    ):
        assert (await template(api, ASKED, model="tiny", **body)).endswith("assistant\n")
    assert (await template(api, ASKED, model="tiny")).endswith("<think>\n")


async def test_thoughts_and_the_day_are_told_to_the_template(tmp_path: Path) -> None:
    wants = "{{ messages[0].content }} {{ date_string }} {{ enable_thinking is true }}"
    for markers, welcome in (("{# <think></think> #}", True), ("", False)):
        file = tmp_path / f"{welcome}.gguf"
        model = await open_llama(tiny_llama(file, template=markers + wants), name="own")
        async with served(model) as own:
            before = time.strftime("%d %b %Y")
            told = await template(own, [{"role": "user", "content": "Hi"}], model="own")
            days = before, time.strftime("%d %b %Y")
            assert told in {f"Hi {day} {welcome}" for day in days}
        await model.close()


async def test_the_dialogue_of_the_plain_format_ends_where_the_other_speaks(
    api: ServedApi,
) -> None:
    answer = await api.ask(PATH, model="scripted", messages=ASKED, max_tokens=3)
    assert answer["choices"][0]["message"]["content"]
    assert "\n\nUser:" in api.state.models.get("scripted").replicas[0].model.chats.stops


async def test_a_model_without_a_template_says_what_to_do(api: ServedApi) -> None:
    status, error = await api.refused(PATH, model="bare", messages=ASKED)
    assert (status, error["code"], error["param"]) == (400, "no_chat_template", "model")
    assert "chat_template" in error["message"]
    assert (await api.client.get("/tokenizer_info")).json()["chat_template"] is None


USER = {"role": "user", "content": "a"}
REPLY = {"role": "assistant", "content": "b"}


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (None, "messages"),
        ("a", "messages"),
        ([], "messages"),
        ([1], "messages[0]"),
        ([{}], "messages[0].role"),
        ([{"role": 1}], "messages[0].role"),
        ([{"role": "function", "content": "a"}], "messages[0].role"),
        ([{"role": "user", "content": 1}], "messages[0].content"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "assistant"}, USER], "messages[0].content"),
        ([{**USER, "tool_calls": [{"function": {"name": "a"}}]}], "messages[0].tool_calls"),
        ([{**USER, "tool_call_id": "a"}], "messages[0].tool_call_id"),
        ([{**USER, "nonsense": 1}], "messages[0].nonsense"),
        ([USER, REPLY, REPLY], "messages"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
         "messages[0].content[0].image_url"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0]"),
    ],
)  # fmt: skip
async def test_messages_that_are_none_are_refused_by_their_place(
    api: ServedApi, messages: Any, param: str
) -> None:
    for stream in (False, True):
        status, error = await api.refused(PATH, messages=messages, stream=stream)
        assert (status, error["param"]) == (400, param)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"candidates": 2}, "candidates"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"continue_final_message": True}, "continue_final_message"),
        ({"continue_final_message": True, "add_generation_prompt": True},
         "continue_final_message"),
        ({"chat_template_kwargs": {"bos_token": "a"}}, "chat_template_kwargs.bos_token"),
        ({"chat_template_kwargs": {"a": json.loads("[" * 80 + "]" * 80)}}, "messages"),
        ({"stream_options": {}}, "stream_options"),
        ({"max_tokens": 1, "min_tokens": 2}, "min_tokens"),
        *(({name: {"a": 1}}, name) for name in CHAT_NEUTRAL),
    ],
)  # fmt: skip
async def test_what_is_not_obeyed_is_refused_by_name(
    api: ServedApi, body: Mapping[str, Any], param: str
) -> None:
    status, error = await api.refused(PATH, messages=ASKED, **body)
    assert (status, error["param"]) == (400, param)


async def test_what_asks_for_nothing_is_taken(api: ServedApi) -> None:
    neutral = {name: values[0] for name, values in CHAT_NEUTRAL.items() if values}
    harmless = {"prediction": {"content": "a"}, "cache_prompt": True, "tools": [],
                "tool_choice": "none", "parallel_tool_calls": True}  # fmt: skip
    answer = await api.ask("/chat/completions", messages=ASKED, max_tokens=1, **neutral, **harmless)
    assert answer["choices"]


async def test_a_template_that_refuses_a_chat_is_the_requests_fault(api: ServedApi) -> None:
    body = {"model": "tiny", "messages": ASKED, "chat_template_kwargs": {"enable_thinking": "a"}}
    await api.ask("/apply-template", **body)
    messages = [USER, {"role": "assistant", "reasoning_content": "a"}, USER]
    status, error = await api.refused(PATH, model="tiny", messages=messages)
    assert (status, error["param"]) == (400, "messages")
    assert "template" in error["message"]
