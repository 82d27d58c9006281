"""What a chat template gives away of how its model calls tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.core.conversation import Conversation
from llterm.core.tool_arguments import Tool
from llterm.core.tool_call_parser import CallArguments, CallBegun, ReplyPart, ToolCallParser
from llterm.core.tool_format import GENERIC, TemplateTools
from llterm.core.tool_probes import probed_tools
from llterm.event_loop import run_coroutine
from tests.helpers.tool_templates import TEMPLATES, UNTAUGHT, calling, writer

USER = {"role": "user", "content": "What is it like outside?"}
PROPERTIES = {
    "city": {"type": "string"}, "days": {"type": "integer"}, "sure": {"type": "boolean"},
    "more": {"type": "object"}, "hours": {"type": "array"}, "share": {"type": "number"},
}  # fmt: skip
TOOLS = (Tool("weather", {"type": "object", "properties": PROPERTIES}), Tool("stop", {}))
Calls = Sequence[tuple[str, Mapping[str, Any]]]

words = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=8).filter(
    lambda text: not any(0xFDD0 <= ord(sign) <= 0xFDEF for sign in text)
)
numbers = st.integers(-(10**6), 10**6)
values: Mapping[str, st.SearchStrategy[Any]] = {
    "city": words, "days": numbers, "sure": st.booleans(),
    "more": st.dictionaries(words, numbers, max_size=2), "hours": st.lists(words, max_size=2),
    "share": st.floats(-8, 8, width=16),
}  # fmt: skip
weather = st.fixed_dictionaries({}, optional=dict(values)).map(lambda given: ("weather", given))
calls_made = st.lists(st.one_of(weather, st.just(("stop", {}))), min_size=1, max_size=3)


@cache
def probed(template: str) -> TemplateTools:
    return run_coroutine(probed_tools(writer(template)))


def calls_of(parts: Sequence[ReplyPart]) -> Calls:
    texts: list[tuple[str, str]] = []
    for part in parts:
        if isinstance(part, CallBegun):
            texts.append((part.name, ""))
        elif isinstance(part, CallArguments):
            name, before = texts[part.place]
            texts[part.place] = name, before + part.text
    return [(name, json.loads(text)) for name, text in texts]


@pytest.mark.parametrize("name", TEMPLATES)
@settings(max_examples=12)
@given(calls=calls_made)
def test_calls_that_a_template_writes_are_read_again(name: str, calls: Calls) -> None:
    template = TEMPLATES[name]
    support = probed(template)
    assert support.calls
    assert support.shown
    assert support.answers
    form = support.format
    calls = calls if form.between else calls[:1]
    write = writer(template)
    made = calling(calls, as_text=name == "arguments as text")
    asked = Conversation((USER,), ending="opened")
    opened = run_coroutine(write(asked))
    whole = run_coroutine(write(Conversation((USER, made), ending="closed")))
    assert whole.startswith(opened)
    parser = ToolCallParser(form, TOOLS)
    parts = [*parser.add(whole[len(opened) :]), *parser.rest()]
    assert calls_of(parts) == calls


def test_formats_differ_as_their_templates_do() -> None:
    forms = [probed(template).format for template in TEMPLATES.values()]
    assert len(set(forms)) == len(forms)
    assert not probed(TEMPLATES["one call alone"]).format.between
    assert not probed(TEMPLATES["one call alone"]).format.anywhere
    assert probed(TEMPLATES["tagged"]).format.trigger == "<tool_call>"
    assert probed(TEMPLATES["counted"]).format.trigger == "<|uses|>"


def test_what_a_template_does_not_do_is_known() -> None:
    nothing = TemplateTools(GENERIC, calls=False, shown=False, answers=False)
    for name in ("no tools", "tools alone", "calls by nothing but their names"):
        assert probed(UNTAUGHT[name]) == nothing
    alone = probed(UNTAUGHT["calls alone"])
    assert (alone.calls, alone.shown, alone.answers) == (True, False, True)
