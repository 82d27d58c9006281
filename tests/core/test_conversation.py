"""Conversations with whatever templates read in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.core.conversation import (
    Conversation,
    Message,
    Render,
    conversation_parts,
    conversation_text,
    plain_text,
    read_conversation,
)
from llterm.core.json_text import json_text
from llterm.errors import ModelError

USER = {"role": "user", "content": "Hi <|end|> "}
CALL = {"type": "function", "function": {"name": "look", "arguments": {"at": "<|end|>"}}}
CALLED = Conversation((USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}))


def written(message: Message) -> str:
    calls = "".join(str(call["function"]) for call in message.get("tool_calls") or ())
    return f"<|{message['role']}|>{message.get('content') or ''}{calls}<|end|>"


def chatml(conversation: Conversation) -> str:
    turns = "".join(map(written, conversation.messages))
    return turns + ("<|assistant|>" if conversation.ending == "opened" else "")


def text_of(conversation: Conversation, render: Render = chatml) -> str:
    return "".join(part.text for part in conversation_parts(conversation, render))


def people_wrote(conversation: Conversation, render: Render = chatml) -> list[str]:
    return [part.text for part in conversation_parts(conversation, render) if part.written]


@given(st.text(alphabet=" \nab", max_size=6))
def test_a_message_that_goes_on_ends_as_it_was_said(said: str) -> None:
    answer = {"role": "assistant", "content": said}
    conversation = Conversation((USER, answer), ending="continued")
    begun = "<|user|>Hi <|end|> <|end|><|assistant|>"
    assert text_of(conversation) == begun + said

    def stripping(given: Conversation) -> str:
        messages = ({**one, "content": one["content"].strip()} for one in given.messages)
        return chatml(replace(given, messages=tuple(messages)))

    assert text_of(conversation, stripping).endswith("<|assistant|>" + (said.lstrip() or said))


def test_a_message_goes_on_where_the_template_wants_a_person_to_speak_last() -> None:
    def strict(conversation: Conversation) -> str:
        if conversation.messages[-1]["role"] != "user":
            raise ModelError("The person speaks last")
        return chatml(conversation)

    conversation = Conversation((USER, {"role": "assistant", "content": "Yes"}), ending="continued")
    assert text_of(conversation, strict) == "<|user|>Hi <|end|> <|end|><|assistant|>Yes"


def test_thoughts_go_on_too() -> None:
    def thinking(conversation: Conversation) -> str:
        return "".join(
            f"<{one['role']}><think>{one.get('reasoning_content', '')}</think>{one['content']}"
            for one in conversation.messages
        )

    answer = {"role": "assistant", "content": "", "reasoning_content": "Hm"}
    text = text_of(Conversation((USER, answer), ending="continued"), thinking)
    assert text.endswith("<assistant><think>Hm")


def test_a_template_that_reads_parts_is_given_parts() -> None:
    def typed(conversation: Conversation) -> str:
        parts = (part for one in conversation.messages for part in one["content"])
        return "".join(part["text"] for part in parts if isinstance(part, dict))

    assert people_wrote(Conversation((USER,)), typed) == ["Hi <|end|>"]


THOUGHT = Conversation((
    USER, {"role": "assistant", "content": "Yes", "reasoning_content": "Hm"}, USER
))  # fmt: skip


@pytest.mark.parametrize("kind", ["named", "typed"])
def test_thoughts_are_shown_in_the_form_that_the_template_reads(kind: str) -> None:
    def read(message: Any) -> str:
        if kind == "named":
            return f"({message.get('thinking', '')}){message['content']}"
        if isinstance(message["content"], str):
            return str(message["content"])
        return "".join(f"({part['thinking']})" if "thinking" in part else part["text"]
                       for part in message["content"])  # fmt: skip

    text = text_of(THOUGHT, lambda given: "".join(map(read, given.messages)))
    assert "(Hm)Yes" in text


@pytest.mark.parametrize("write", [str, json_text])
def test_a_template_without_thoughts_is_given_none(write: Callable[[Any], str]) -> None:
    def render(conversation: Conversation) -> str:
        return "".join(
            one["content"] if isinstance(one["content"], str) else write(one["content"])
            for one in conversation.messages
        )

    assert "Hm" not in text_of(THOUGHT, render)


def with_text(change: Callable[[Any], str]) -> Render:
    """A template that reads arguments its own way."""

    def render(conversation: Conversation) -> str:
        calls = conversation.messages[-1]["tool_calls"]
        return "".join(change(call["function"]["arguments"]) for call in calls)

    return render


def joined(arguments: Any) -> str:
    if not isinstance(arguments, str):
        raise ModelError("can only concatenate str")
    return "```" + arguments


@pytest.mark.parametrize("change", [joined, str])
def test_a_template_that_reads_arguments_as_text_is_given_text(
    change: Callable[[Any], str],
) -> None:
    assert '{"at": "<|end|>"}' in text_of(CALLED, with_text(change))


def test_texts_in_calls_are_written_by_who_called() -> None:
    assert "<|end|>" in people_wrote(CALLED, with_text(lambda given: str(given["at"])))


def test_where_marks_would_change_a_text_it_is_as_without_them() -> None:
    def counting(conversation: Conversation) -> str:
        return f"{len(conversation.messages[0]['content'])}:{chatml(conversation)}"

    assert text_of(Conversation((USER,)), counting).startswith("11:<|user|>")
    assert people_wrote(Conversation((USER,)), counting) == ["Hi <|end|>"]


def test_the_plain_format_goes_on_opens_and_closes() -> None:
    said = (USER, {"role": "assistant", "content": "Yes"})
    texts = [text_of(Conversation(said, ending=ending), plain_text)
             for ending in ("opened", "continued", "closed")]  # fmt: skip
    assert [text.removeprefix("User: Hi <|end|> \n\nAssistant: Yes") for text in texts] == [
        "\n\nAssistant:", "", "\n\n"
    ]  # fmt: skip


def test_it_crosses_as_text() -> None:
    conversation = replace(CALLED, variables={"a": [1, None]}, ending="closed")
    assert read_conversation(conversation_text(conversation)) == conversation
