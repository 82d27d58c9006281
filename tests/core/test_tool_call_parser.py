"""A reply that comes in pieces is cut into text and calls the same way however it comes."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from llterm.core.tool_arguments import Tool
from llterm.core.tool_call_parser import (
    CallArguments,
    CallBegun,
    ReplyPart,
    Said,
    ToolCallParser,
)
from llterm.core.tool_format import (
    GENERIC,
    ID,
    JSON_KINDS,
    KEY,
    SPECIAL,
    SPECIAL_END,
    TaggedArguments,
    ToolFormat,
    ValueMarks,
)

TOOLS = (
    Tool("weather", {"type": "object", "properties": {"city": {"type": "string"},
                                                      "days": {"type": "integer"}}}),
    Tool("stop", {}),
)  # fmt: skip
TAGGED = ToolFormat(
    "<call>\n<f=", ">\n<a=", "</f>\n</call>\n<call>\n<f=", "</f>\n</call>",
    TaggedArguments(
        tuple((kind, ValueMarks(">\n", f"\n</{KEY}>\n")) for kind in JSON_KINDS),
        "<a=", ">\n</f>\n</call>\n<call>\n<f=", ">\n</f>\n</call>",
    ),
)  # fmt: skip
TOKENS = ToolFormat(
    f"{SPECIAL}<c>{SPECIAL_END}",
    f"[{ID}]",
    f"{SPECIAL}<c>{SPECIAL_END}",
    f"{SPECIAL}</c>{SPECIAL_END}",
)
BARE = ToolFormat('{"name": "', '", "arguments": ', "", "}")
FORMS = (GENERIC, TAGGED, TOKENS, BARE)
JSON_CALL = (
    '<tool_call>\n{"name": "weather", "arguments": {"city": "a}\\"{", "days": [1]}}\n</tool_call>'
)
TAGGED_CALL = (
    '<call>\n<f=weather>\n<a=city>\n "a\\\n\n</city>\n<a=days>\n-3\n</days>\n</f>\n</call>'
)
pieces = st.sampled_from(
    [
        *JSON_CALL, *TAGGED_CALL, "<tool_call>", "</tool_call>", '{"name": "',
        '{"name": "weather", "arguments": ', '", "arguments": {"city": "x"}', "}\n</tool_call>",
        "<call>\n<f=stop", "<call>",
        "<f=weather>\n<a=city>\n", "\n</city>\n", "<a=days>", ">\n</f>\n</call>", TOKENS.begin,
        TOKENS.end, "weather[abc123]{}", " ", "\n", "é🦊", "\\", SPECIAL, JSON_CALL, TAGGED_CALL,
    ]
)  # fmt: skip
replies = st.lists(pieces, max_size=12).map("".join)


def parsed(form: ToolFormat, reply: str, cuts: list[int]) -> list[ReplyPart]:
    """The parts, those of one kind joined."""
    parser = ToolCallParser(form, TOOLS)
    places = sorted(cut % (len(reply) + 1) for cut in cuts)
    parts: list[ReplyPart] = []
    for start, end in zip([0, *places], [*places, len(reply)], strict=True):
        parts += parser.add(reply[start:end])
    parts += parser.rest()
    joined: list[ReplyPart] = []
    for part in parts:
        match joined[-1:], part:
            case [Said(text)], Said(more):
                joined[-1] = Said(text + more)
            case [CallArguments(place, text)], CallArguments(_, more):
                joined[-1] = CallArguments(place, text + more)
            case _:
                joined.append(part)
    return joined


@given(st.sampled_from(FORMS), replies, st.lists(st.integers(0, 500), max_size=20))
def test_a_reply_says_the_same_however_it_is_cut(
    form: ToolFormat, reply: str, cuts: list[int]
) -> None:
    whole = parsed(form, reply, [])
    assert parsed(form, reply, cuts) == whole
    assert parsed(form, reply, [*range(len(reply))]) == whole


@given(st.sampled_from((GENERIC, BARE)), replies, st.lists(st.integers(0, 500), max_size=5))
def test_what_is_no_call_is_text(form: ToolFormat, reply: str, cuts: list[int]) -> None:
    parts = parsed(form, reply, cuts)
    if SPECIAL not in reply and not any(isinstance(part, CallBegun) for part in parts):
        (said,) = parts or [Said("")]
        assert isinstance(said, Said)
        whole, shown = ("".join(text.split()) for text in (reply, said.text))
        assert whole.startswith(shown)
        lost = whole.removeprefix(shown)
        assert not lost or lost.startswith(form.trigger.replace(" ", ""))


def test_calls_follow_text_and_each_other() -> None:
    reply = f"I look.\n{JSON_CALL}\n{JSON_CALL}"
    arguments = '{"city": "a}\\"{", "days": [1]}'
    assert parsed(GENERIC, reply, []) == [
        Said("I look."),
        CallBegun(0, "weather"), CallArguments(0, arguments),
        CallBegun(1, "weather"), CallArguments(1, arguments),
    ]  # fmt: skip


def test_a_call_is_told_as_it_comes() -> None:
    parser = ToolCallParser(GENERIC, TOOLS)
    assert parser.add('<tool_call>\n{"name": "weather", "arguments": {') == [
        CallBegun(0, "weather"), CallArguments(0, "{")
    ]  # fmt: skip
    assert parser.add('"city": "Be') == [CallArguments(0, '"city": "Be')]


def test_arguments_between_tags_are_json() -> None:
    parts = parsed(TAGGED, f"{TAGGED_CALL}\n<call>\n<f=stop>\n</f>\n</call>", [])
    assert [part for part in parts if isinstance(part, CallBegun)] == [
        CallBegun(0, "weather"), CallBegun(1, "stop")
    ]  # fmt: skip
    texts = [part.text for part in parts if isinstance(part, CallArguments)]
    assert [json.loads(text) for text in texts] == [{"city": ' "a\\\n', "days": -3}, {}]


def test_only_the_token_is_the_mark_where_the_mark_is_a_token() -> None:
    assert parsed(TOKENS, "weather <c>weather[abc]{}", []) == [Said("weather <c>weather[abc]{}")]
    called = f"{TOKENS.begin}weather[abc]{{}}{TOKENS.end}"
    assert parsed(TOKENS, called, []) == [CallBegun(0, "weather"), CallArguments(0, "{}")]


def test_a_call_that_breaks_off_is_told_as_far_as_it_goes() -> None:
    assert parsed(GENERIC, JSON_CALL[:50], [])[0] == CallBegun(0, "weather")
    assert parsed(GENERIC, "Well <tool_call>\n{", []) == [Said("Well")]
    assert parsed(GENERIC, f'{JSON_CALL}\n<tool_call>\n{{"name": "we', [])[-1] == CallArguments(
        0, '{"city": "a}\\"{", "days": [1]}'
    )
    two = f"{JSON_CALL}\n{JSON_CALL}"
    for size in range(len(GENERIC.trigger), len(two)):
        assert not any(isinstance(part, Said) for part in parsed(GENERIC, two[:size], []))
    (_, arguments) = parsed(TAGGED, TAGGED_CALL[:32], [])
    assert arguments == CallArguments(0, '{"city": " \\"a\\\\')
