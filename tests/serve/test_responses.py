"""`/v1/responses` over a real socket: a chat in OpenAI's newer shape."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.serve.response_bodies import RESPONSE_NEUTRAL
from llterm.serve.response_events import ResponseEvents
from tests.helpers.served_api import ServedApi, served
from tests.helpers.thinking_template import SPECIAL, THINKING
from tests.helpers.tiny_models import tiny_llama

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATH = "/v1/responses"
Items = list[Mapping[str, Any]]
MESSAGE_EVENTS = [
    "response.output_item.added", "response.content_part.added", "response.output_text.delta",
    "response.output_text.done", "response.content_part.done", "response.output_item.done",
]  # fmt: skip


@asynccontextmanager
async def thinking(folder: Path) -> AsyncIterator[ServedApi]:
    """A model that thinks, served."""
    file = tiny_llama(folder / "tiny.gguf", template=THINKING, special=SPECIAL)
    thinker = await open_llama(file, LlamaSettings(threads=1), name="tiny")
    async with served(thinker) as opened:
        yield opened
    await thinker.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedApi]:
    async with thinking(tmp_path_factory.mktemp("thinker")) as opened:
        yield opened


def thoughts(api: ServedApi) -> Mapping[str, Any]:
    """A body whose answer is likely to end its thoughts, and goes on then."""
    vocabulary = api.state.models.loaded[0].vocabulary
    tokens = map(vocabulary.token, range(vocabulary.size))
    ids = {token.data.decode("latin-1"): token.id for token in tokens}
    closing = ids["</think>"]
    # No other token: a list of allowed ones is a chat's alone.
    bias = {str(id): -100 for id in ids.values()}
    bias |= {str(ids[name]): 0 for name in ("</think>", "a", "b", "c")}
    return {"input": "A story", "seed": 4, "max_output_tokens": 40, "ignore_eos": True,
            "logit_bias": {**bias, str(closing): 4}}  # fmt: skip


async def events_of(api: ServedApi, **body: Any) -> list[Any]:
    """The events of a stream, each under its name, without anything after them."""
    answer = await api.client.post(PATH, json={**body, "stream": True})
    assert answer.status_code == 200, answer.text
    told = []
    for block in answer.text.strip().split("\n\n"):
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        told.append(event)
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    return told


def told_kinds(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """The types in their order, equal neighbours once."""
    kinds = [event["type"] for event in events]
    return [kind for place, kind in enumerate(kinds) if kinds[place - 1 : place] != [kind]]


def without_ids(value: Any) -> Any:
    """Without what is new in every answer."""
    if isinstance(value, list):
        return [without_ids(each) for each in value]
    if isinstance(value, dict):
        new = ("id", "created_at")
        return {name: without_ids(each) for name, each in value.items() if name not in new}
    return value


async def test_a_response_has_openais_fields(api: ServedApi) -> None:
    answer = await api.ask(
        PATH, input="A story", instructions="Tell it", max_output_tokens=8, temperature=0.5,
        ignore_eos=True,
        reasoning={"effort": "none"}, metadata={"a": "b"}, store=False,
    )  # fmt: skip
    assert answer["id"].startswith("resp_")
    told = {name: answer[name] for name in (
        "object", "model", "status", "instructions", "temperature", "max_output_tokens", "metadata",
        "store", "previous_response_id", "incomplete_details", "error",
    )}  # fmt: skip
    assert told == {
        "object": "response", "model": "tiny", "status": "incomplete", "instructions": "Tell it",
        "temperature": 0.5, "max_output_tokens": 8, "metadata": {"a": "b"}, "store": False,
        "previous_response_id": None, "incomplete_details": {"reason": "max_output_tokens"},
        "error": None,
    }  # fmt: skip
    (message,) = answer["output"]
    assert (message["type"], message["role"], message["status"]) == (
        "message", "assistant", "incomplete",
    )  # fmt: skip
    assert message["content"][0]["annotations"] == []
    assert answer["usage"]["output_tokens"] == 8
    assert answer["usage"]["input_tokens_details"].keys() >= {"cached_tokens"}


async def test_events_come_in_openais_order_and_add_up(api: ServedApi) -> None:
    body = {**thoughts(api), "include": ["message.output_text.logprobs"], "top_logprobs": 3}
    events = await events_of(api, **body)
    reasoning = [kind.replace("output_text", "reasoning_text") for kind in MESSAGE_EVENTS]
    assert told_kinds(events) == [
        "response.created", "response.in_progress", *reasoning, *MESSAGE_EVENTS,
        "response.incomplete",
    ]  # fmt: skip
    last = events[-1]["response"]
    assert events[0]["response"] == {
        **last, "output": [], "status": "in_progress", "usage": None, "incomplete_details": None
    }  # fmt: skip
    for place, item in enumerate(last["output"]):
        own = [each for each in events if each.get("output_index") == place]
        assert {each.get("item_id", item["id"]) for each in own} == {item["id"]}
        text = "".join(each.get("delta", "") for each in own)
        assert text == item["content"][0]["text"] != ""
        assert own[-1]["item"] == item
    thought, message = last["output"]
    assert (thought["type"], thought["summary"], thought["status"]) == (
        "reasoning",
        [],
        "completed",
    )
    entries = message["content"][0]["logprobs"]
    assert "".join(each["token"] for each in entries) == message["content"][0]["text"]
    assert {len(each["top_logprobs"]) for each in entries} == {3}
    assert last["usage"]["output_tokens_details"]["reasoning_tokens"] >= 1
    whole = await api.ask(PATH, **body)
    assert without_ids(whole["output"]) == without_ids(last["output"])


async def test_it_is_the_chat_that_says_the_same(api: ServedApi) -> None:
    call = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"at": 1}'}
    given: Items = [
        {"role": "user", "content": [{"type": "input_text", "text": "one"},
                                     {"type": "input_text", "text": "two"}]},
        {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": None,
         "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "id": "m", "status": "completed",
         "content": [{"type": "output_text", "text": "I look", "annotations": []}]},
        call,
        {"type": "function_call_output", "call_id": "c1", "output": "A lamp"},
    ]  # fmt: skip
    function = {"name": "look", "arguments": '{"at": 1}'}
    messages = [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "one\ntwo"},
        {"role": "assistant", "reasoning_content": "hm", "content": "I look",
         "tool_calls": [{"id": "c1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "c1", "content": "A lamp"},
    ]  # fmt: skip
    body = {"temperature": 0, "seed": 1, "stop": ["e"]}
    answer = await api.ask(PATH, input=given, instructions="S", max_output_tokens=9, **body,
                           reasoning={"effort": "none", "summary": "auto"})  # fmt: skip
    chat = await api.ask("/v1/chat/completions", messages=messages, max_tokens=9, **body,
                         reasoning_effort="none")  # fmt: skip
    assert answer["usage"]["input_tokens"] == chat["usage"]["prompt_tokens"]
    (message,) = answer["output"]
    assert message["content"][0]["text"] == chat["choices"][0]["message"]["content"]


async def test_a_text_has_the_form_that_is_asked_for(api: ServedApi) -> None:
    form = {"type": "json_schema", "name": "x", "strict": True, "schema": {"const": "ab"}}
    answer = await api.ask("/responses", input="A", text={"format": form})
    assert [each["content"][0]["text"] for each in answer["output"]] == ['"ab"']
    assert answer["status"] == "completed"
    assert answer["text"]["format"]["name"] == "x"


async def test_a_tool_that_has_to_be_called_is(api: ServedApi) -> None:
    schema = {"type": "object", "properties": {"lamp": {"enum": ["red", "blue"]}},
              "required": ["lamp"], "additionalProperties": False}  # fmt: skip
    tool = {"type": "function", "name": "look", "parameters": schema, "strict": True}
    body = {"input": "A", "tools": [tool], "reasoning": {"effort": "none"}, "seed": 1,
            "parallel_tool_calls": False}  # fmt: skip
    for choice in ("required", {"type": "function", "name": "look"}):
        events = await events_of(api, **body, tool_choice=choice)
        (call,) = events[-1]["response"]["output"]
        assert (call["type"], call["name"], call["status"]) == (
            "function_call", "look", "completed",
        )  # fmt: skip
        assert json.loads(call["arguments"])["lamp"] in ("red", "blue")
        told = [each["delta"] for each in events if each["type"].endswith("arguments.delta")]
        assert "".join(told) == call["arguments"]
        output = {"type": "function_call_output", "call_id": call["call_id"], "output": "On"}
        said = [{"role": "user", "content": "A"}, call, output]
        answer = await api.ask(PATH, **{**body, "input": said}, tool_choice="none",
                               max_output_tokens=4)  # fmt: skip
        assert answer["usage"]["output_tokens"] <= 4


async def test_a_call_is_an_item_of_its_own() -> None:
    def chunk(finish: str | None = None, **delta: Any) -> Mapping[str, Any]:
        return {"choices": [{"delta": delta, "logprobs": None, "finish_reason": finish}]}

    def call(index: int, **function: str) -> Mapping[str, Any]:
        new = {"id": f"c{index}"} if "name" in function else {}
        return {"index": index, **new, "function": function}

    told = ResponseEvents({})
    chunks = [
        chunk(content="so"),
        *(chunk(tool_calls=[call(place, name=name, arguments="")]) for place, name in ((0, "f"),)),
        chunk(tool_calls=[call(0, arguments="{")]),
        chunk(tool_calls=[call(0, arguments="}"), call(1, name="g", arguments="{}")]),
        chunk("tool_calls"),
    ]
    events = [*told.begin(), *(event for each in chunks for event in told.take(each)), *told.end()]
    call_events = [
        "response.output_item.added", "response.function_call_arguments.delta",
        "response.function_call_arguments.done", "response.output_item.done",
    ]  # fmt: skip
    assert told_kinds(events)[2:] == [*MESSAGE_EVENTS, *call_events * 2, "response.completed"]
    _, first, second = events[-1]["response"]["output"]
    assert (first["name"], first["call_id"], first["arguments"]) == ("f", "c0", "{}")
    assert (second["name"], second["call_id"], second["arguments"]) == ("g", "c1", "{}")


MEMORY = {
    "store": True, "previous_response_id": "resp_1", "conversation": "conv_1", "background": True,
    "truncation": "auto", "prompt": {"id": "p"}, "max_tool_calls": 1, "moderation": {},
    "context_management": [{"type": "compaction"}],
}  # fmt: skip


@pytest.mark.parametrize("field", RESPONSE_NEUTRAL)
async def test_what_asks_for_memory_is_refused_by_name(api: ServedApi, field: str) -> None:
    status, error = await api.refused(PATH, input="a", **{field: MEMORY[field]})
    assert (status, error["param"], error["code"]) == (400, field, "unsupported_parameter")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "input"),
        ({"input": []}, "input"),
        ({"input": [{"content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
         "input[0].content[0].input_image"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0]"),
        ({"input": [{"type": "item_reference", "id": "a"}]}, "input[0].item_reference"),
        ({"input": [{"type": "function_call_output", "output": "a"}]}, "input[0].call_id"),
        ({"input": [{"type": "web_search_call"}]}, "input[0].type"),
        ({"input": "a" * 100_000}, "input"),
        ({"input": "a", "top_logprobs": 3}, "top_logprobs"),
        ({"input": "a", "include": ["everything"]}, "include[0]"),
        ({"input": "a", "tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"input": "a", "tool_choice": {"type": "mcp"}}, "tool_choice"),
        ({"input": "a", "text": {"format": {"type": "json_schema", "name": "a"}}},
         "text.format.schema"),
        ({"input": "a", "max_output_tokens": 1, "min_tokens": 2}, "min_tokens"),
        ({"input": "a", "temperature": -1}, "temperature"),
        ({"input": "a", "messages": []}, "messages"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_by_the_clients_own_names(
    api: ServedApi, body: Mapping[str, Any], param: str
) -> None:
    for stream in (False, True):
        status, error = await api.refused(PATH, **body, stream=stream)
        assert (status, error["param"]) == (400, param)


async def test_what_goes_wrong_later_is_an_event(tmp_path: Path) -> None:
    async with thinking(tmp_path) as api:
        body = {**thoughts(api), "max_output_tokens": 1000, "stream": True}
        async with api.client.stream("POST", PATH, json=body) as answer:
            parts = answer.aiter_text()
            text = await anext(parts)
            api.state.open.end()
            text += "".join([part async for part in parts])
    name, data = text.strip().split("\n\n")[-1].split("\n")
    event = json.loads(data.removeprefix("data: "))
    assert (name, event["type"], event["code"]) == ("event: error", "error", "server_ending")
    assert event["sequence_number"] == text.count("event: ") - 1
