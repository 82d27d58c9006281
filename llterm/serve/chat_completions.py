"""`/v1/chat/completions`: from the body to what is drawn, and from that to OpenAI's shape."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from llterm.engine.generation import GeneratedToken, GenerationEnd
from llterm.serve.api_errors import bad_field, check_neutral
from llterm.serve.body_constraints import Wanted, grammar_of, schema_of
from llterm.serve.chat_bodies import CHAT_NEUTRAL
from llterm.serve.chat_calls import ChatCalls
from llterm.serve.chat_deltas import ChatDeltas, Delta
from llterm.serve.chat_logprobs import ChatLogprobs
from llterm.serve.chat_prompts import ChatPrompt, conversation_of, read_chat
from llterm.serve.chat_tools import ChatTools, chat_tools
from llterm.serve.drawn_choices import DrawnChoice, Step, draw_choices, usage
from llterm.serve.generation_fields import (
    check_generation,
    generation_of,
    most_tokens,
    stops_shown,
    wanted_constraints,
)
from llterm.serve.prompt_scores import prompt_rows, prompt_scores
from llterm.serve.request_rules import RequestRules
from llterm.serve.serve_limits import MOST_FACTS
from llterm.serve.served_models import ServedModel
from llterm.version import __version__

Answer = Mapping[str, Any]


@dataclass(slots=True, eq=False)
class ChatPlan:
    """A chat that is understood, and may be answered."""

    body: Any
    """A `ChatBody`: mypy does not know the fields that are made from the configuration."""
    model: ServedModel
    prompt: ChatPrompt
    tools: ChatTools | None
    choices: Sequence[DrawnChoice]
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def streams(self) -> bool:
        return bool(self.body.stream)


async def plan_chat(body: Any, model: ServedModel, rules: RequestRules, whose: str) -> ChatPlan:
    """Read a body whole. Raises LltermError for what cannot be; nothing has been drawn then."""
    count = body.n or 1
    listed = _listed(body)
    given = most_tokens(body)
    most = model.room if given in (None, -1) else given
    _check_fields(body, most)
    rules.check_choices(1, count, "n")
    wanted = list(_wanted(body))
    conversation = conversation_of(body)
    tools = await chat_tools(body, model)
    if tools is not None:
        conversation = tools.told(conversation)
    if wanted:
        # Thoughts would have to fit as well: a template that can do without is told so.
        variables = {"enable_thinking": False, **conversation.variables}
        conversation = replace(conversation, variables=variables)
    prompt = await read_chat(
        conversation, model, leading=body.leading_prompt or "", thoughtless=bool(wanted)
    )
    most = min(most, model.room - len(prompt.tokens))
    if given in (None, -1) and listed:
        most = min(most, max(MOST_FACTS // (listed * count), 1))
    told = count * most * listed + len(prompt.tokens) * (body.prompt_logprobs or 0)
    rules.check_facts(told, 1, "top_logprobs")
    request = await generation_of(body, model, rules, whose, top=listed, wanted=wanted)
    request = replace(
        request,
        prompt=prompt.tokens,
        most=most,
        stops=(*request.stops, *model.chats.stops),
        spoken=model.marker_ids,
    )
    if tools is not None:
        request = replace(
            request,
            constraint=tools.constraint(request.constraint, thinking=prompt.thinking),
            spoken=request.spoken | tools.marks,
        )
    choices = [
        DrawnChoice(
            number,
            replace(request, choice=number, further=number > 0),
            model.vocabulary,
            stop_shown=stops_shown(body),
            marked=frozenset() if tools is None else tools.marks,
        )
        for number in range(count)
    ]
    return ChatPlan(body, model, prompt, tools, choices)


def _listed(body: Any) -> int:
    """Candidates told with each token."""
    if body.top_logprobs is not None and not body.logprobs:
        raise bad_field("top_logprobs", "top_logprobs need logprobs", "It is to be true.")
    if body.candidates is not None and not body.logprobs:
        raise bad_field("candidates", "candidates need logprobs", "It is to be true.")
    return max(body.top_logprobs or 0, body.candidates or 0)


def _check_fields(body: Any, most: int) -> None:
    check_neutral(body, CHAT_NEUTRAL)
    check_generation(body, most, logprobs=bool(body.logprobs))


def _wanted(body: Any) -> Iterator[Wanted]:
    """All that the reply is to fit; the one place that says so."""
    yield from wanted_constraints(body)
    if body.grammar is not None:
        yield "grammar", grammar_of(body.grammar, "grammar")
    if body.json_schema is not None:
        yield "json_schema", schema_of(body.json_schema)


@dataclass(slots=True, eq=False)
class _ToldReply:
    """How one choice is told: as parts of a message."""

    plan: ChatPlan
    choice: DrawnChoice
    deltas: ChatDeltas = field(init=False)
    calls: ChatCalls | None = field(init=False)
    logprobs: ChatLogprobs | None = field(init=False)
    thoughts: int = 0
    """Tokens of them."""

    def __post_init__(self) -> None:
        body, model = self.plan.body, self.plan.model
        self.deltas = ChatDeltas(model.reasoning, thinking=self.plan.prompt.thinking)
        tools = self.plan.tools
        self.calls = None if tools is None or tools.choice == "none" else tools.calls()
        by_id = bool(body.return_tokens_as_token_ids)
        self.logprobs = ChatLogprobs(model.vocabulary, by_id) if body.logprobs else None

    def add(self, drawn: GeneratedToken | GenerationEnd, text: str) -> Delta:
        """What a step adds to the message."""
        if isinstance(drawn, GenerationEnd):
            delta = _joined(self.deltas.add(text), self.deltas.rest())
            return delta if self.calls is None else self.calls.add(delta, last=True)
        if self.logprobs is not None:
            self.logprobs.add(drawn, self.choice.request.watched)
        thinking = self.deltas.thinking
        delta = self.deltas.add(text)
        self.thoughts += thinking or self.deltas.thinking
        return delta if self.calls is None else self.calls.add(delta)

    def ending(self) -> dict[str, Any]:
        """Why it ended."""
        reason = self.choice.finish_reason
        if self.calls is not None and self.calls.made and reason != "length":
            reason = "tool_calls"
        return {"finish_reason": reason, "stop_reason": self.choice.stop_reason}

    def part(self, delta: Mapping[str, Any], tokens: Sequence[GeneratedToken]) -> dict[str, Any]:
        """What goes into `choices` of a stream."""
        told: dict[str, Any] = {
            "index": self.choice.index,
            "delta": delta,
            "logprobs": None if self.logprobs is None else self.logprobs.taken(),
            "finish_reason": None,
        }
        if self.plan.body.return_token_ids:
            told["token_ids"] = [token.id for token in tokens]
        return told

    def whole(self, message: Delta) -> Answer:
        """What goes into `choices` of a whole answer."""
        made: dict[str, Any] = {}
        if self.calls is not None and self.calls.made:
            made = {"content": message.get("content"), "tool_calls": self.calls.made}
        told: dict[str, Any] = {
            "index": self.choice.index,
            "message": {"role": "assistant", "content": "", "refusal": None, **message, **made},
            "logprobs": None if self.logprobs is None else self.logprobs.whole(),
            **self.ending(),
        }
        if self.plan.body.return_token_ids:
            told["token_ids"] = [token.id for token in self.choice.tokens]
        return told


def _joined(first: Delta, second: Delta) -> Delta:
    """The texts of two deltas as one."""
    names = dict.fromkeys((*first, *second))
    names.pop("tool_calls", None)
    return {name: first.get(name, "") + second.get(name, "") for name in names}


async def answer_chat(plan: ChatPlan) -> Answer:
    """All choices, drawn to their ends. Raises LltermError."""
    beginning = await _beginning(plan)
    replies = [_ToldReply(plan, choice) for choice in plan.choices]
    messages: list[Delta] = [{} for _ in replies]
    async with aclosing(draw_choices(plan.model.generator, plan.choices)) as steps:
        async for choice, drawn, text in steps:
            delta = replies[choice.index].add(drawn, text)
            messages[choice.index] = _joined(messages[choice.index], delta)
    choices = [reply.whole(message) for reply, message in zip(replies, messages, strict=True)]
    return {
        **_head(plan, "chat.completion"),
        "choices": choices,
        "usage": _usage(replies),
        **beginning,
    }


async def stream_chat(plan: ChatPlan) -> AsyncGenerator[Answer]:
    """The chunks of the same; nothing before there is a token, or an error."""
    options = plan.body.stream_options
    counted = options is not None and (options.include_usage or options.continuous_usage_stats)
    continuous = options is not None and options.continuous_usage_stats
    beginning = await _beginning(plan)
    replies = [_ToldReply(plan, choice) for choice in plan.choices]
    head = _head(plan, "chat.completion.chunk")
    begun: set[int] = set()

    def chunk(part: Answer) -> Answer:
        shown = {"usage": _usage(replies) if continuous else None} if counted else {}
        return {**head, "choices": [part], **shown}

    async with aclosing(draw_choices(plan.model.generator, plan.choices)) as steps:
        async for step in steps:
            reply = replies[step[0].index]
            if step[0].index not in begun:
                first = {"role": "assistant", "content": ""}
                yield {**chunk(reply.part(first, [])), **({} if begun else beginning)}
                begun.add(step[0].index)
            for part in _stream_parts(reply, step):
                yield chunk(part)
    if counted:
        yield {**head, "choices": [], "usage": _usage(replies)}


def _stream_parts(reply: _ToldReply, step: Step) -> Iterator[Answer]:
    """What one step adds to the stream: nothing for a token of which nothing is shown yet."""
    _, drawn, text = step
    tokens = [drawn] if isinstance(drawn, GeneratedToken) else []
    delta = reply.add(drawn, text)
    if delta or (tokens and (reply.logprobs is not None or reply.plan.body.return_token_ids)):
        yield reply.part(delta or {"content": ""}, tokens)
    if isinstance(drawn, GenerationEnd):
        yield {**reply.part({}, []), **reply.ending()}


async def _beginning(plan: ChatPlan) -> dict[str, Any]:
    """What is told of the prompt, as vLLM does."""
    told: dict[str, Any] = {}
    tokens = plan.prompt.tokens
    if plan.body.return_token_ids:
        told["prompt_token_ids"] = list(tokens)
    if (count := plan.body.prompt_logprobs) is not None:
        scores = await prompt_scores(plan.model, tokens, count)
        told["prompt_logprobs"] = prompt_rows(scores, count, plan.model.vocabulary)
    return told


def _head(plan: ChatPlan, kind: str) -> dict[str, Any]:
    return {
        "id": plan.id,
        "object": kind,
        "created": plan.created,
        "model": plan.model.name,
        "system_fingerprint": f"llterm-{__version__}",
    }


def _usage(replies: Sequence[_ToldReply]) -> Answer:
    """With the thoughts' share."""
    thoughts = sum(reply.thoughts for reply in replies)
    return {
        **usage([reply.choice for reply in replies]),
        "completion_tokens_details": {"reasoning_tokens": thoughts},
    }
