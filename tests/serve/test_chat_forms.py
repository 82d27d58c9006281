"""gallama's forms of a reply, over a real socket: XML forms filled in first, artifacts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any
from xml.etree import ElementTree as XML

import pytest
import pytest_asyncio

from tests.helpers.served_api import ServedApi, served_fable

pytestmark = pytest.mark.asyncio(loop_scope="module")
PATH = "/v1/chat/completions"
ASKED = [{"role": "user", "content": "How many apples?"}]
TEMPLATE = """
<chain_of_thought level="deep">
  <problem>{problem_statement}</problem>
  <steps>
    <step>{action1}</step>
    <!-- Add more steps as needed -->
  </steps>
  <answer>Provide the answer</answer>
</chain_of_thought>
"""
SHORT = {"bias": ["<=14", "/=6"], "temperature": 0.7}
"""What ends a part is liked, so that a small model comes to an end."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api() -> AsyncIterator[ServedApi]:
    async with served_fable(1536) as opened:
        yield opened


async def message(api: ServedApi, **body: Any) -> Mapping[str, Any]:
    answer = await api.ask(PATH, messages=ASKED, seed=2, max_tokens=250, **SHORT, **body)
    told: Mapping[str, Any] = answer["choices"][0]["message"]
    return told


def check_filled(text: str) -> None:
    root = XML.fromstring(text)
    assert (root.tag, [child.tag for child in root]) == (
        "chain_of_thought", ["problem", "steps", "answer"]
    )  # fmt: skip
    assert {child.tag for child in root[1]} == {"step"}
    assert "level" in root.attrib
    assert "{" not in text or "{problem_statement}" not in text


async def test_a_form_is_filled_in_before_the_answer(api: ServedApi) -> None:
    body = {"thinking_template": TEMPLATE, "regex_pattern": "[0-9] apples"}
    hidden = await message(api, **body)
    separate = await message(api, **body, return_thinking="separate")
    shown = await message(api, **body, return_thinking=True)
    assert set(hidden) == {"role", "content", "refusal"}
    assert hidden["content"] == separate["content"]
    check_filled(separate["thinking"])
    assert shown["content"] == f"{separate['thinking']}\n\n{hidden['content']}"
    assert hidden["content"].endswith(" apples")
    parts = await api.streamed(
        PATH, messages=ASKED, seed=2, max_tokens=250, **SHORT, **body, return_thinking="separate"
    )
    deltas = [part["choices"][0]["delta"] for part in parts]
    for name in ("thinking", "content"):
        assert "".join(delta.get(name) or "" for delta in deltas) == separate[name]


async def test_the_model_reads_the_form(api: ServedApi) -> None:
    shown = await api.ask("/apply-template", messages=ASKED, thinking_template=TEMPLATE)
    assert "<problem>{problem_statement}</problem>" in shown["prompt"]


async def test_a_form_goes_with_tools(api: ServedApi) -> None:
    tool = {"type": "function", "function": {"name": "count"}}
    told = await message(
        api, thinking_template="<t>{why}</t>", return_thinking="separate", tools=[tool],
        tool_choice="required", parallel_tool_calls=False,
    )  # fmt: skip
    assert told["thinking"].startswith("<t>")
    assert told["tool_calls"][0]["function"] == {"name": "count", "arguments": "{}"}


async def test_artifacts_are_choices_and_typed_parts(api: ServedApi) -> None:
    body = {"messages": ASKED, "seed": 4, "max_tokens": 250, **SHORT, "artifact": "Fast"}
    answer = await api.ask(PATH, **body)
    metas = [choice["message"]["artifact_meta"] for choice in answer["choices"]]
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert {meta["tag_type"] for meta in metas} <= {"text", "artifact"}
    for meta in metas:
        if meta["tag_type"] == "artifact":
            assert meta["artifact_type"] in ("code", "self_contained_text")
            assert meta["identifier"]
            assert meta["title"]
    assert [part["type"] for part in answer["parts"]] == [meta["tag_type"] for meta in metas]
    assert [part["text"] for part in answer["parts"]] == texts
    assert not any("<artifact" in text or "</text>" in text for text in texts)
    parts = await api.streamed(PATH, **body)
    told: list[tuple[Any, str]] = []
    for part in parts:
        delta = part["choices"][0]["delta"]
        if not told or told[-1][0] != delta["artifact_meta"]:
            told.append((delta["artifact_meta"], ""))
        told[-1] = told[-1][0], told[-1][1] + delta["content"]
    assert "".join(text for _, text in told) == "".join(texts)
    if answer["choices"][0]["finish_reason"] == "stop":
        assert len(texts) >= 1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"thinking_template": "no XML"}, "thinking_template"),
        ({"thinking_template": "<a>{b}</a><c/>"}, "thinking_template"),
        ({"thinking_template": "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>"}, "thinking_template"),
        ({"thinking_template": "<a>" * 40 + "</a>" * 40}, "thinking_template"),
        ({"thinking_template": "<a>{b}</a>", "grammar": 'start: "a"'}, "thinking_template"),
        ({"return_thinking": True}, "return_thinking"),
        ({"artifact": "Slow", "regex_pattern": "a"}, "artifact"),
        ({"artifact": "Fast", "n": 2}, "n"),
    ],
)  # fmt: skip
async def test_what_is_no_form_is_refused(
    api: ServedApi, body: Mapping[str, Any], param: str
) -> None:
    status, error = await api.refused(PATH, messages=ASKED, **body)
    assert (status, error["param"]) == (400, param)
