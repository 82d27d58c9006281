"""What a body of `/v1/responses` says, as the body of a chat."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import msgspec

from llterm.serve.api_errors import ApiError, bad_field, unsupported
from llterm.serve.chat_bodies import ChatBody
from llterm.serve.response_bodies import LOGPROBS, InputItem, InputPart, TextFormat
from llterm.serve.sampler_fields import SAMPLER_NAMES

_SAME = (
    "model", "parallel_tool_calls", "candidates", "seed", "stop", "logit_bias", "min_tokens",
    "ignore_eos", "structured_outputs", "regex_pattern", "chat_template_kwargs", *SAMPLER_NAMES,
)  # fmt: skip
"""Fields that a chat has too."""
_TEXTS = ("input_text", "output_text", "reasoning_text", "summary_text")
_ITEM_FIELDS: Mapping[str, tuple[str, ...]] = {
    "message": ("role", "content"),
    "function_call": ("call_id", "name", "arguments"),
    "function_call_output": ("call_id", "output"),
    "reasoning": (),
}
"""What an item of each kind is to have."""
_OTHER_PLACES = (
    (re.compile(r"^messages\b"), "input"),
    (re.compile(r"^max_tokens$"), "max_output_tokens"),
    (re.compile(r"^response_format(\.json_schema)?\b"), "text.format"),
    (re.compile(r"^reasoning_effort$"), "reasoning.effort"),
    (re.compile(r"^(tools\[\d+\])\.function\b"), r"\1"),
)
"""What a chat calls a field, and what it is here."""


def chat_body(body: Any) -> Any:
    """The body of the same chat, streamed with its usage. Raises ApiError."""
    given = {name: value for name, value in msgspec.to_builtins(body).items() if value is not None}
    chat = {name: given[name] for name in _SAME if name in given}
    chat |= {"messages": _messages(body), "stream": True, "stream_options": {"include_usage": True}}
    if body.max_output_tokens is not None:
        chat["max_tokens"] = body.max_output_tokens
    if LOGPROBS in (body.include or ()):
        chat |= {"logprobs": True, "top_logprobs": body.top_logprobs}
    elif body.top_logprobs or body.candidates:
        name = "top_logprobs" if body.top_logprobs else "candidates"
        raise bad_field(name, f"{name} needs include", f"It is to have {LOGPROBS}.")
    if body.text is not None and body.text.format is not None:
        chat["response_format"] = _format(body.text.format)
    if body.reasoning is not None and body.reasoning.effort is not None:
        chat["reasoning_effort"] = body.reasoning.effort
    chat["tools"] = [{"type": "function", "function": _function(tool)} for tool in body.tools or ()]
    if body.tool_choice is not None:
        chat["tool_choice"] = _choice(body.tool_choice)
    try:
        return msgspec.convert(chat, ChatBody)
    except msgspec.ValidationError as error:
        # All that can be wrong still is in what is passed on as it is.
        raise bad_field("tool_choice", "tool_choice cannot be so", f"{error}.") from None


def placed(error: ApiError) -> NoReturn:
    """Raise what was wrong with the chat, by the names that the client used."""
    for pattern, name in _OTHER_PLACES:
        if error.param is not None:
            error.param = pattern.sub(name, error.param)
    raise error


def _format(given: TextFormat) -> Mapping[str, Any]:
    if given.type != "json_schema":
        return {"type": given.type}
    if given.schema is None:
        raise bad_field("text.format.schema", "The schema is missing")
    return {"type": given.type, "json_schema": {"schema": given.schema}}


def _function(tool: Any) -> Mapping[str, Any]:
    said = msgspec.to_builtins(tool)
    del said["type"]
    return {name: value for name, value in said.items() if value is not None}


def _choice(given: Any) -> Any:
    """A chat wants what is chosen in an object of its own."""
    if isinstance(given, str):
        return given
    match given:
        case {"type": "function", "name": name, **more} if not more:
            return {"type": "function", "function": {"name": name}}
        case {"type": "allowed_tools", "tools": [*tools], **more} if set(more) <= {"mode"}:
            chosen = [_choice(tool) if isinstance(tool, dict) else tool for tool in tools]
            return {"type": "allowed_tools", "allowed_tools": {**more, "tools": chosen}}
    raise unsupported("tool_choice")


def _messages(body: Any) -> Sequence[Mapping[str, Any]]:
    """With the instructions before them; what the assistant thought, said and called in a row is
    one message."""
    messages: list[dict[str, Any]] = []
    if body.instructions:
        messages.append({"role": "system", "content": body.instructions})
    if isinstance(body.input, str):
        return [*messages, {"role": "user", "content": body.input}]
    for place, item in enumerate(body.input):
        said = _message(item, f"input[{place}]")
        if said and not _added(messages, said):
            messages.append(said)
    return messages


def _added(messages: Sequence[dict[str, Any]], said: Mapping[str, Any]) -> bool:
    """Whether it goes on with the last message: thoughts, then words, then calls."""
    last = messages[-1] if messages else {}
    if last.get("role") != "assistant" or said["role"] != "assistant":
        return False
    if "tool_calls" in said:
        last.setdefault("tool_calls", []).extend(said["tool_calls"])
    elif "content" in said and not {"content", "tool_calls"} & last.keys():
        last["content"] = said["content"]
    else:
        return False
    return True


def _message(item: InputItem, place: str) -> dict[str, Any]:
    """One item as (part of) a message; empty where it says nothing. Raises ApiError."""
    if item.type == "item_reference":
        raise unsupported(f"{place}.item_reference")
    for name in _ITEM_FIELDS[item.type]:
        if getattr(item, name) is None:
            raise bad_field(f"{place}.{name}", f"{place}.{name} is missing",
                            f"A {item.type} has one.")  # fmt: skip
    match item.type:
        case "message":
            return {"role": item.role, "content": _text(item.content, f"{place}.content")}
        case "function_call":
            function = {"name": item.name, "arguments": item.arguments}
            call = {"id": item.call_id, "type": "function", "function": function}
            return {"role": "assistant", "tool_calls": [call]}
        case "function_call_output":
            output = _text(item.output, f"{place}.output")
            return {"role": "tool", "tool_call_id": item.call_id, "content": output}
        case _:
            thoughts = _text(item.content, f"{place}.content")
            thoughts = thoughts or _text(item.summary, f"{place}.summary")
            return {"role": "assistant", "reasoning_content": thoughts} if thoughts else {}


def _text(given: str | Sequence[InputPart] | None, place: str) -> str:
    """Parts are put together line by line, as a chat's are."""
    if given is None or isinstance(given, str):
        return given or ""
    return "\n".join(_texts(given, place))


def _texts(parts: Sequence[InputPart], place: str) -> Iterator[str]:
    for index, part in enumerate(parts):
        if part.type != "refusal" and part.type not in _TEXTS:
            raise unsupported(f"{place}[{index}].{part.type}")
        text = part.refusal if part.type == "refusal" else part.text
        if text is None:
            raise bad_field(f"{place}[{index}]", f"The part has no {part.type}")
        yield text
