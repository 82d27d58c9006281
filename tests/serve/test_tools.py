"""Tools in chats, over a real socket: calls fit their schemas, whatever the model would like."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
import pytest_asyncio

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.core.query import Backend
from llterm.core.tool_format import SPECIAL, SPECIAL_END
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.random_tools import call_faults
from tests.helpers.served_api import ServedApi, served
from tests.helpers.tiny_models import tiny_llama
from tests.helpers.tool_rounds import ASKED, PATH, tool_rounds
from tests.helpers.tool_templates import TEMPLATES

pytestmark = pytest.mark.asyncio(loop_scope="module")
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather somewhere",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 8},
                "unit": {"enum": ["celsius", "kelvin"]},
            },
            "required": ["city", "unit"],
        },
    },
}
STOP = {"type": "function", "function": {"name": "stop"}}
TINY = ("in tags", "counted", "tagged")
COUNTED = ("<|use|>", "<|args|>", "<|/use|>", "<|uses|>", "<|/uses|>")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ServedApi]:
    """The bundled model in ChatML, which knows no tools, and tiny ones whose templates do."""
    settings = LlamaSettings(threads=1, context=2048)
    models: list[Backend] = [
        await open_llama(
            BUNDLED, LlamaSettings(threads=1, context=1024, chat_template="chatml"), name="fable"
        )
    ]
    for name in TINY:
        file = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
        special = COUNTED if name == "counted" else ()
        template = TEMPLATES[name]
        made = tiny_llama(file, template=template, special=special, context=4096)
        models.append(await open_llama(made, settings, name=name))
    async with served(*models) as opened:
        yield opened
    for model in models:
        await model.close()


async def reply(api: ServedApi, **body: Any) -> Mapping[str, Any]:
    answer = await api.ask(PATH, **{"messages": ASKED, "max_tokens": 80, "seed": 1, **body})
    choice: Mapping[str, Any] = answer["choices"][0]
    return choice


@pytest.mark.parametrize("model", ["fable", *TINY])
async def test_required_and_named_calls_fit_their_schemas(api: ServedApi, model: str) -> None:
    rounds = await tool_rounds(api, model, range(4), max_tokens=120)
    assert rounds.faults == []
    assert rounds.called


async def test_a_stream_tells_the_name_first_and_then_the_arguments(api: ServedApi) -> None:
    body = {"messages": ASKED, "tools": [TOOL, STOP], "tool_choice": "required", "seed": 3,
            "parallel_tool_calls": False, "max_tokens": 100, "model": "fable"}  # fmt: skip
    whole = (await api.ask(PATH, **body))["choices"][0]
    (call,) = whole["message"]["tool_calls"]
    assert whole["message"]["content"] is None
    assert whole["finish_reason"] == "tool_calls"
    parts = [part["choices"][0] for part in await api.streamed(PATH, **body)]
    assert parts[0]["delta"]["role"] == "assistant"
    assert parts[-1]["finish_reason"] == "tool_calls"
    first, *others = (
        change for part in parts for change in part["delta"].get("tool_calls", ())
    )  # fmt: skip
    assert (first["index"], first["type"], len(first["id"])) == (0, "function", 9)
    assert first["function"]["name"] == call["function"]["name"]
    assert all(set(change) == {"index", "function"} for change in others)
    told = "".join(change["function"]["arguments"] for change in (first, *others))
    assert told == call["function"]["arguments"]
    assert not any(part["delta"].get("content") for part in parts)


async def test_choices_call_apart_and_their_ids_differ(api: ServedApi) -> None:
    answer = await api.ask(
        PATH, messages=ASKED, tools=[TOOL], tool_choice="required", n=3, seed=1, max_tokens=90,
        parallel_tool_calls=False,
    )  # fmt: skip
    calls = [choice["message"]["tool_calls"][0] for choice in answer["choices"]]
    assert len({call["id"] for call in calls}) == 3
    assert len({call["function"]["arguments"] for call in calls}) > 1


async def test_a_call_after_text_is_held_to_its_schema_once_it_begins(api: ServedApi) -> None:
    (begin,) = (
        api.state.models.get("counted")
        .replicas[0]
        .model.special.named_in(f"{SPECIAL}<|uses|>{SPECIAL_END}")
    )
    called = 0
    for seed in range(4):
        told = await reply(
            api, model="counted", tools=[TOOL], parallel_tool_calls=False, seed=seed,
            logit_bias={str(begin): 8}, max_tokens=150,
        )  # fmt: skip
        for call in told["message"].get("tool_calls", ()):
            called += 1
            function = call["function"]
            whole = told["finish_reason"] != "length"
            assert not whole or not call_faults([TOOL], **function)
            assert not whole or told["finish_reason"] == "tool_calls"
    assert called


async def test_none_never_calls_and_shows_no_tools(api: ServedApi) -> None:
    for model, bias in (("fable", {"<": 9, "tool": 9}), ("counted", {"<": 9})):
        told = await reply(
            api, model=model, tools=[TOOL], tool_choice="none", logit_bias=bias, max_tokens=30
        )
        assert "tool_calls" not in told["message"]
        assert told["finish_reason"] != "tool_calls"
        assert "<tool_call>" not in told["message"]["content"]
    shown = await api.ask(
        "/apply-template", model="fable", messages=ASKED, tools=[TOOL], tool_choice="none"
    )
    assert "weather somewhere" not in shown["prompt"]


async def test_parts_of_a_format_stand_beside_calls(api: ServedApi) -> None:
    pattern = {"regex_pattern": "(sunny|rainy)"}
    told = await reply(api, tools=[TOOL], **pattern)
    assert told["message"]["content"] in ("sunny", "rainy") or told["message"]["tool_calls"]
    told = await reply(api, tools=[STOP], tool_choice="required", **pattern)
    assert told["message"]["tool_calls"][0]["function"] == {"name": "stop", "arguments": "{}"}


async def test_a_model_reads_tools_calls_and_answers_as_its_template_has_them(
    api: ServedApi,
) -> None:
    function = {"name": "weather", "arguments": '{"city": "Rome", "unit": "kelvin"}'}
    call = {"id": "abcdefghi", "type": "function", "function": function}
    messages = [
        *ASKED,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "It snows."},
    ]
    native = '{"name": "weather", "arguments": {"city": "Rome", "unit": "kelvin"}}'
    tagged = "<function=weather>\n<parameter=city>\nRome\n</parameter>"
    words = "<tool_response>\nIt snows.\n</tool_response>"
    for model, seen in (("in tags", (native, "<|tool|>\nIt snows.", "[T]")),
                        ("tagged", (tagged, "<|tool|>\nIt snows.", "[T]")),
                        ("fable", (native, words, "You can call these functions"))):  # fmt: skip
        shown = await api.ask("/apply-template", model=model, messages=messages, tools=[TOOL])
        assert all(text in shown["prompt"] for text in (*seen, "The weather somewhere"))
        assert (await reply(api, model=model, messages=messages, max_tokens=4))["message"]


async def test_a_choice_allows_some_of_the_tools(api: ServedApi) -> None:
    allowed = {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "required", "tools": [STOP]},
    }
    told = await reply(api, tools=[TOOL, STOP], tool_choice=allowed)
    assert {call["function"]["name"] for call in told["message"]["tool_calls"]} == {"stop"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL, TOOL]}, "tools[1].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a:b"}}]}, "tools[0].function.name"),
        ({"tools": [TOOL], "tool_choice": STOP}, "tool_choice.function.name"),
        ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice.allowed_tools"),
        ({"tools": [TOOL], "grammar": 'start: "a"'}, "tools"),
        (
            {"tools": [{"type": "function",
                        "function": {"name": "a", "parameters": {"type": "array"}}}]},
            "tools[0].function.parameters.type",
        ),
        (
            {"tools": [TOOL, {"type": "function", "function": {
                "name": "a", "parameters": {"properties": {"b": {"$ref": "http://127.0.0.1/"}}}}}]},
            "tools[1].function.parameters",
        ),
        (
            {"tools": [{"type": "function", "function": {
                "name": "a", "parameters": {"enum": ["x" * 70_000]}}}]},
            "tools",
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_called_is_refused_by_its_place(
    api: ServedApi, body: Mapping[str, Any], param: str
) -> None:
    status, error = await api.refused(PATH, messages=ASKED, model="fable", **body)
    assert (status, error["param"]) == (400, param)


async def test_deep_schemas_are_refused(api: ServedApi) -> None:
    schema: dict[str, Any] = {}
    for _ in range(400):
        schema = {"type": "array", "items": schema}
    tool = {
        "type": "function",
        "function": {"name": "a", "parameters": {"properties": {"x": schema}}},
    }
    answer = await api.client.post(PATH, json={"messages": ASKED, "tools": [tool]})
    assert answer.status_code == 400
    assert json.loads(answer.text)["error"]["type"] == "invalid_request_error"
