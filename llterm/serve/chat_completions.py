"""`/v1/chat/completions`: from the body to what is drawn, and from that to OpenAI's shape."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from llterm.serve.api_errors import bad_field, check_neutral
from llterm.serve.body_constraints import Wanted, grammar_of, schema_of
from llterm.serve.chat_bodies import CHAT_NEUTRAL
from llterm.serve.chat_forms import ChatForms, chat_forms
from llterm.serve.chat_prompts import ChatPrompt, conversation_of, read_chat
from llterm.serve.chat_replies import ChatReply
from llterm.serve.chat_tools import ChatTools, chat_tools
from llterm.serve.choice_timings import timings
from llterm.serve.drawn_choices import DrawnChoice, draw_choices, usage
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
    forms: ChatForms | None
    choices: Sequence[DrawnChoice]
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def streams(self) -> bool:
        return bool(self.body.stream)

    def replies(self) -> Sequence[ChatReply]:
        """What tells each choice."""
        return [
            ChatReply(
                self.body, self.model, choice, self.prompt.thinking, self.tools, self.forms
            )
            for choice in self.choices
        ]  # fmt: skip


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
    forms = chat_forms(body, model, wanted)
    for told in (tools, forms):
        conversation = conversation if told is None else told.told(conversation)
    thoughtless = bool(wanted) or forms is not None
    if thoughtless and model.chats.template:
        # Thoughts would have to fit as well: a template that can do without is told so.
        variables = {"enable_thinking": False, **conversation.variables}
        conversation = replace(conversation, variables=variables)
    prompt = await read_chat(
        conversation, model, leading=body.leading_prompt or "", thoughtless=thoughtless
    )
    most = min(most, model.room - len(prompt.tokens))
    if given in (None, -1) and listed:
        most = min(most, max(MOST_FACTS // (listed * count), 1))
    facts = count * most * listed + len(prompt.tokens) * (body.prompt_logprobs or 0)
    rules.check_facts(facts, 1, "top_logprobs")
    request = await generation_of(body, model, rules, whose, top=listed, wanted=wanted)
    request = replace(
        request,
        prompt=prompt.tokens,
        most=most,
        stops=(*request.stops, *model.chats.stops),
        spoken=model.marker_ids,
    )
    if forms is not None and (tools is None or not tools.tools):
        request = replace(request, constraint=forms.constraint(request.constraint))
    elif tools is not None:
        lead = forms.lead if forms is not None else ()
        constraint = tools.constraint(request.constraint, lead, thinking=prompt.thinking)
        request = replace(request, constraint=constraint, spoken=request.spoken | tools.marks)
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
    return ChatPlan(body, model, prompt, tools, forms, choices)


async def chat_tokens(body: Any, model: ServedModel, rules: RequestRules) -> Answer:
    """How many tokens the model would read. Raises LltermError for what could not be answered."""
    return input_tokens(await plan_chat(body, model, rules, ""))


def input_tokens(plan: ChatPlan) -> Answer:
    """The same of a plan."""
    return {"object": "response.input_tokens", "input_tokens": len(plan.prompt.tokens)}


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


async def answer_chat(plan: ChatPlan) -> Answer:
    """All choices, drawn to their ends. Raises LltermError."""
    beginning = await _beginning(plan)
    replies = plan.replies()
    async with aclosing(draw_choices(plan.model.generator, plan.choices)) as steps:
        async for choice, drawn, text in steps:
            replies[choice.index].add(drawn, text)
    parts = replies[0].typed_parts()
    return {
        **_head(plan, "chat.completion"),
        "choices": [told for reply in replies for told in reply.whole()],
        **({} if parts is None else {"parts": parts}),
        "usage": _usage(replies),
        **_timings(plan),
        **beginning,
    }


async def stream_chat(plan: ChatPlan) -> AsyncGenerator[Answer]:
    """The chunks of the same; nothing before there is a token, or an error."""
    options = plan.body.stream_options
    counted = options is not None and (options.include_usage or options.continuous_usage_stats)
    continuous = options is not None and options.continuous_usage_stats
    beginning = await _beginning(plan)
    replies = plan.replies()
    head = _head(plan, "chat.completion.chunk")
    begun: set[int] = set()

    def chunk(part: Answer) -> Answer:
        shown = {"usage": _usage(replies) if continuous else None} if counted else {}
        return {**head, "choices": [part], **shown}

    async with aclosing(draw_choices(plan.model.generator, plan.choices)) as steps:
        async for choice, drawn, text in steps:
            reply = replies[choice.index]
            if choice.index not in begun:
                yield {**chunk(reply.first()), **({} if begun else beginning)}
                begun.add(choice.index)
            for part in reply.parts(drawn, text):
                yield chunk(part)
    if counted:
        yield {**head, "choices": [], "usage": _usage(replies), **_timings(plan)}


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


def _timings(plan: ChatPlan) -> dict[str, Any]:
    """Where they are asked for."""
    return {"timings": timings(plan.choices)} if plan.body.timings_per_token else {}


def _head(plan: ChatPlan, kind: str) -> dict[str, Any]:
    return {
        "id": plan.id,
        "object": kind,
        "created": plan.created,
        "model": plan.model.name,
        "system_fingerprint": f"llterm-{__version__}",
    }


def _usage(replies: Sequence[ChatReply]) -> Answer:
    """With the thoughts' share."""
    thoughts = sum(reply.thoughts for reply in replies)
    counts = usage([reply.choice for reply in replies])
    details = {**counts.get("completion_tokens_details", {}), "reasoning_tokens": thoughts}
    return {**counts, "completion_tokens_details": details}
