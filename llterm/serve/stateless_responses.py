"""`/v1/responses`: a chat in OpenAI's newer shape. Nothing is kept of it."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple

import msgspec

from llterm.serve.api_errors import ApiError, check_neutral
from llterm.serve.chat_completions import ChatPlan, input_tokens, plan_chat, stream_chat
from llterm.serve.drawn_choices import DrawnChoice
from llterm.serve.request_rules import RequestRules
from llterm.serve.response_bodies import RESPONSE_NEUTRAL
from llterm.serve.response_events import Event, ResponseEvents
from llterm.serve.response_input import chat_body, placed
from llterm.serve.served_models import ServedModel

Answer = Mapping[str, Any]


class ResponsePlan(NamedTuple):
    """A response that is understood, and may be drawn."""

    body: Any
    """A `ResponseBody`: mypy does not know the fields that are made from the configuration."""
    chat: ChatPlan

    @property
    def streams(self) -> bool:
        return bool(self.body.stream)

    @property
    def choices(self) -> Sequence[DrawnChoice]:
        return self.chat.choices


async def plan_response(
    body: Any, model: ServedModel, rules: RequestRules, whose: str
) -> ResponsePlan:
    """Read a body whole. Raises LltermError for what cannot be; nothing has been drawn then."""
    check_neutral(body, RESPONSE_NEUTRAL)
    chat = chat_body(body)
    try:
        return ResponsePlan(body, await plan_chat(chat, model, rules, whose))
    except ApiError as error:
        placed(error)


async def response_tokens(body: Any, model: ServedModel, rules: RequestRules) -> Answer:
    """How many tokens the model would read. Raises LltermError for what could not be answered."""
    return input_tokens((await plan_response(body, model, rules, "")).chat)


async def answer_response(plan: ResponsePlan) -> Answer:
    """The response, drawn to its end. Raises LltermError."""
    last: Event = {}
    async with aclosing(stream_response(plan)) as events:
        async for event in events:
            last = event
    response: Answer = last["response"]
    return response


async def stream_response(plan: ResponsePlan) -> AsyncGenerator[Event]:
    """The events of the same; nothing before there is a token, or an error."""
    events = ResponseEvents(_head(plan))
    begun = False
    async with aclosing(stream_chat(plan.chat)) as chunks:
        async for chunk in chunks:
            if not begun:
                begun = True
                for event in events.begin():
                    yield event
            for event in events.take(chunk):
                yield event
    for event in events.end():
        yield event


def _head(plan: ResponsePlan) -> Mapping[str, Any]:
    """What was asked for, as it is obeyed."""
    body, chat = plan.body, plan.chat
    settings = chat.choices[0].request.sampling.settings
    given = msgspec.to_builtins(body)
    text, reasoning = given["text"] or {}, given["reasoning"] or {}
    return {
        "id": f"resp_{secrets.token_hex(24)}",
        "object": "response",
        "created_at": int(time.time()),
        "model": chat.model.name,
        "error": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": reasoning.get("effort"), "summary": None},
        "store": False,
        "background": False,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "text": {"format": text.get("format") or {"type": "text"}},
        "tool_choice": body.tool_choice or "auto",
        "tools": given["tools"] or [],
        "top_logprobs": body.top_logprobs or 0,
        "truncation": "disabled",
    }
