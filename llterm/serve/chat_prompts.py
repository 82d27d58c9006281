"""Chats as clients send them: as a conversation, as the model's template writes it, as tokens."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from llterm.core.chat_messages import ChatPart, ChatParts, chat_draft
from llterm.core.conversation import (
    Conversation,
    ConversationEnd,
    Message,
    conversation_text,
    read_conversation,
)
from llterm.core.json_text import parsed
from llterm.core.tokens import Tail, draft_tokens
from llterm.engine.prompt_heads import written_chat
from llterm.errors import ModelError
from llterm.serve.api_errors import ApiError, bad_field, unsupported
from llterm.serve.chat_bodies import ContentPart, MessageBody, ToolCall
from llterm.serve.chat_forms import chat_forms
from llterm.serve.chat_tools import chat_tools
from llterm.serve.request_prompts import check_size
from llterm.serve.served_models import ServedModel

_RESERVED = (
    "messages", "tools", "bos_token", "eos_token", "add_generation_prompt", "chat_template",
    "raise_exception", "strftime_now",
)  # fmt: skip
"""Names that a template is given by the server alone."""


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """A chat as the model reads it."""

    tokens: Tail
    thinking: bool
    """It ends within thoughts: the reply goes on with them."""


def conversation_of(body: Any) -> Conversation:
    """What the body of a chat says. Raises ApiError for what no chat can be."""
    messages = [_message(message, f"messages[{i}]") for i, message in enumerate(body.messages)]
    ending = _ending(body)
    if ending == "continued" and [each["role"] for each in messages[-2:]] == ["assistant"] * 2:
        raise bad_field(
            "messages", "The last two messages are the assistant's",
            "The last one is gone on with, which no two are.", "Make one of them.",
        )  # fmt: skip
    conversation = Conversation(
        tuple(messages),
        tuple(msgspec.to_builtins(tool) for tool in body.tools or ()),
        _variables(body),
        ending,
    )
    try:
        return read_conversation(conversation_text(conversation))
    except (ValueError, RecursionError):
        raise bad_field("messages", "The chat is nested too deep") from None


def _ending(body: Any) -> ConversationEnd:
    """vLLM's two fields; where they say nothing an assistant's message at the end is gone on with,
    as llama.cpp does."""
    opened, continued = body.add_generation_prompt, body.continue_final_message
    answered = body.messages[-1].role == "assistant"
    if continued and opened:
        raise bad_field("continue_final_message",
                        "continue_final_message and add_generation_prompt do not go together",
                        "Either the last message goes on or another begins.")  # fmt: skip
    if continued and not answered:
        raise bad_field("continue_final_message", "There is no message to continue",
                        "The last one is not the assistant's.")  # fmt: skip
    if continued or (answered and continued is None and opened is None):
        return "continued"
    return "closed" if opened is False else "opened"


def _variables(body: Any) -> Mapping[str, Any]:
    """What the template sees besides the chat."""
    given = dict(body.chat_template_kwargs or {})
    for name in _RESERVED:
        if name in given:
            raise bad_field(f"chat_template_kwargs.{name}", f"{name} cannot be given",
                            "The server says it.")  # fmt: skip
    if body.reasoning_effort is not None:
        effort = {"reasoning_effort": body.reasoning_effort,
                  "enable_thinking": body.reasoning_effort != "none"}  # fmt: skip
        given = effort | given
    return given


def _message(message: MessageBody, place: str) -> Message:
    """As templates want it. Raises ApiError."""
    said: dict[str, Any] = {"role": message.role, "content": _content(message, place)}
    if message.role == "assistant":
        thoughts = message.reasoning_content or message.reasoning
        if thoughts:
            said["reasoning_content"] = thoughts
        if message.tool_calls:
            said["tool_calls"] = [_call(call) for call in message.tool_calls]
        elif message.content is None and not thoughts:
            raise bad_field(f"{place}.content", "The message says nothing",
                            "It has neither content nor tool_calls.")  # fmt: skip
    else:
        for name in ("tool_calls", "reasoning_content", "reasoning"):
            if getattr(message, name):
                raise bad_field(f"{place}.{name}", f"{name} are an assistant's")
        if message.content is None:
            raise bad_field(f"{place}.content", "The message says nothing")
    if message.role == "tool":
        if message.tool_call_id is not None:
            said["tool_call_id"] = message.tool_call_id
    elif message.tool_call_id is not None:
        raise bad_field(f"{place}.tool_call_id", "tool_call_id is a tool's")
    if message.name is not None:
        said["name"] = message.name
    return said


def _content(message: MessageBody, place: str) -> str | None:
    """The text; parts are put together line by line, as llama.cpp and vLLM do."""
    if message.content is None or isinstance(message.content, str):
        return message.content
    return "\n".join(_texts(message.content, f"{place}.content"))


def _texts(parts: Sequence[ContentPart], place: str) -> Iterator[str]:
    for index, part in enumerate(parts):
        text = part.refusal if part.type == "refusal" else part.text
        if part.type not in ("text", "refusal"):
            raise unsupported(f"{place}[{index}].{part.type}")
        if text is None:
            raise bad_field(f"{place}[{index}]", f"The part has no {part.type}")
        yield text


def _call(call: ToolCall) -> Mapping[str, Any]:
    """With its arguments as they are, where they are JSON: most templates write them anew."""
    arguments: Any = call.function.arguments
    if isinstance(arguments, str):
        try:
            value = parsed(arguments)
        except ValueError:
            value = None
        if isinstance(value, dict):
            arguments = value
    said: dict[str, Any] = {
        "type": "function",
        "function": {"name": call.function.name, "arguments": arguments},
    }
    return said if call.id is None else {"id": call.id, **said}


async def chat_parts(conversation: Conversation, model: ServedModel) -> ChatParts:
    """As the model's template writes it. Raises ApiError where it has none, or refuses it."""
    chats = model.chats
    model.check_predicts()
    if not chats.known:
        raise ApiError(
            400,
            f"{model.name} has no chat template",
            "How it wants chats to be written is not known",
            "The server's chat_template for it names a format, such as chatml, or plain for a"
            " dialogue in plain text; or send a text to /v1/completions.",
            param="model",
            code="no_chat_template",
        )
    if "developer" not in chats.template:
        # Few templates know the newer name.
        conversation = conversation.with_role("developer", "system")
    if chats.template:
        variables = {**_usual_variables(model), **conversation.variables}
        conversation = replace(conversation, variables=variables)
    try:
        return await written_chat(model.backend, conversation)
    except ModelError as error:
        raise bad_field("messages", error.title, error.cause) from None


def _usual_variables(model: ServedModel) -> Mapping[str, Any]:
    """What templates are told by llama.cpp too: the day, and that thoughts are welcome, where they
    are known from what is said."""
    day = {"date_string": time.strftime("%d %b %Y"), "datetime": time.strftime("%b %d %Y")}
    return day if model.reasoning is None else {**day, "enable_thinking": True}


async def applied_template(body: Any, model: ServedModel) -> Mapping[str, Any]:
    """llama.cpp's `/apply-template`: a chat's text, without what the model's own first token says.
    Raises ApiError."""
    conversation = conversation_of(body)
    for told in (await chat_tools(body, model), chat_forms(body, model, ())):
        conversation = conversation if told is None else told.told(conversation)
    text = "".join(part.text for part in await chat_parts(conversation, model))
    first = b"".join(model.vocabulary.token(id).data for id in model.vocabulary.prefix)
    return {"prompt": text.removeprefix(first.decode("utf-8", "replace"))}


async def read_chat(
    conversation: Conversation, model: ServedModel, *, leading: str = "", thoughtless: bool = False
) -> ChatPrompt:
    """As the model is to read it, with a `leading` text after it. `thoughtless`: thoughts that the
    template begins are ended at once. Raises ApiError."""
    parts = await chat_parts(conversation, model)
    thinking = _thinking(parts, model)
    if thinking and thoughtless and model.reasoning is not None:
        parts = (*parts, ChatPart(f"{model.reasoning.close}\n\n", False))
        thinking = False
    size = sum(len(part.text.encode("utf-8", "replace")) for part in parts)
    check_size(size // model.longest, model, "messages", known=False)
    vocabulary = model.vocabulary
    tokens = await draft_tokens(chat_draft(parts, vocabulary), vocabulary)
    if leading:
        check_size(len(tokens) + len(leading.encode()) // model.longest, model, "leading_prompt",
                   known=False)  # fmt: skip
        tokens += await vocabulary.tokenize(leading.encode())
    if not tokens:
        raise bad_field("messages", "The chat is empty", "This model needs a beginning.")
    check_size(len(tokens), model, "messages")
    return ChatPrompt(tokens, thinking)


def _thinking(parts: ChatParts, model: ServedModel) -> bool:
    """Whether the last that the template wrote, with what goes on after it, opens thoughts and does
    not end them."""
    if model.reasoning is None:
        return False
    text = ""
    for part in reversed(parts):
        text = part.text + text
        if not part.written:
            break
    return text.rfind(model.reasoning.open) > text.rfind(model.reasoning.close)
