"""What a chat template leaves undone for tools, said in words of the chat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llterm.core.conversation import Conversation, Message
from llterm.core.json_text import json_text
from llterm.core.tool_format import TemplateTools, ToolFormat

_OPEN, _SHUT = "<tool_response>\n", "\n</tool_response>"


def in_words(conversation: Conversation, support: TemplateTools) -> Conversation:
    """The conversation with tools, calls and answers said in its messages, as far as the template
    does not write them itself."""
    messages: Sequence[Message] = conversation.messages
    if support.calls:
        nothing = None if support.format.content_null else ""
        messages = [_with_content(message, nothing) for message in messages]
    else:
        messages = [_with_calls_said(message, support.format) for message in messages]
    if not support.answers:
        messages = list(_with_answers_said(messages))
    conversation = replace(conversation, messages=tuple(messages))
    if support.shown or not conversation.tools:
        return conversation
    told = conversation.with_words(_words(conversation.tools, support.format))
    return replace(told, tools=())


def _with_content(message: Message, nothing: str | None) -> Message:
    """With what stands beside calls where nothing is said, as the template wants it."""
    if not message.get("tool_calls") or message.get("content"):
        return message
    return {**message, "content": nothing}


def _with_calls_said(message: Message, form: ToolFormat) -> Message:
    """With the calls in its text, as the model is told to write them."""
    calls = message.get("tool_calls")
    if not calls:
        return message
    written = [
        f"{call['function']['name']}{form.after_name}{_json(call['function']['arguments'])}"
        for call in calls
    ]
    text = f"{form.begin}{form.between.join(written)}{form.end}"
    said = "\n".join(filter(None, (message.get("content"), text)))
    return {"role": message["role"], "content": said}


def _json(arguments: Any) -> str:
    return arguments if isinstance(arguments, str) else json_text(arguments, ascii=False)


def _with_answers_said(messages: Sequence[Message]) -> Iterator[Message]:
    """With what tools answered said by the person: those of one turn in one message."""
    answers: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            answers.append(f"{_OPEN}{message['content']}{_SHUT}")
            continue
        if answers:
            yield {"role": "user", "content": "\n".join(answers)}
            answers = []
        yield message
    if answers:
        yield {"role": "user", "content": "\n".join(answers)}


def _words(tools: Sequence[Mapping[str, Any]], form: ToolFormat) -> str:
    listed = "\n".join(json_text(tool["function"], ascii=False) for tool in tools)
    example = f'{form.begin}NAME{form.after_name}{{"ARGUMENT": VALUE}}{form.end}'.strip()
    return (
        f"You can call these functions, each described by JSON:\n{listed}\n"
        f"To call one, write this, with its name and its arguments:\n{example}"
    )
