"""`/v1/completions`: from the body to what is drawn, and from that to OpenAI's legacy shape."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from llterm.engine.generation import GeneratedToken, GenerationEnd
from llterm.serve.api_errors import bad_field, unsupported
from llterm.serve.drawn_choices import DrawnChoice, Step, draw_choices, usage
from llterm.serve.generation_fields import (
    check_generation,
    generation_of,
    most_tokens,
    stops_shown,
    wanted_constraints,
)
from llterm.serve.legacy_logprobs import LegacyLogprobs
from llterm.serve.prompt_scores import PromptToken, prompt_rows, prompt_scores
from llterm.serve.request_prompts import Part, RequestPrompt, read_prompt
from llterm.serve.request_rules import RequestRules
from llterm.serve.served_models import ServedModel

USUAL_TOKENS = 16
"""OpenAI's default of this route."""
Answer = Mapping[str, Any]


@dataclass(slots=True, eq=False)
class CompletionPlan:
    """A request that is understood, and may be drawn."""

    body: Any
    """A `CompletionBody`: mypy does not know the fields that are made from the configuration."""
    model: ServedModel
    prompts: Sequence[RequestPrompt]
    choices: Sequence[DrawnChoice]
    """Prompt by prompt, `drawn` of each."""
    drawn: int
    shown: int
    """Of the choices of each prompt, so many best ones are told."""
    id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    @property
    def streams(self) -> bool:
        return bool(self.body.stream)


async def plan_completion(
    body: Any, model: ServedModel, rules: RequestRules, whose: str
) -> CompletionPlan:
    """Read a body whole. Raises LltermError for what cannot be; nothing has been drawn then."""
    given = most_tokens(body)
    most = model.room if given == -1 else USUAL_TOKENS if given is None else given
    _check_fields(body, most)
    shown = body.n or 1
    drawn = body.best_of or shown
    if drawn < shown:
        raise bad_field("best_of", f"best_of is {drawn}, and n is {shown}", "It is n at least.")
    parts = list(_prompts(body.prompt))
    rules.check_choices(len(parts), drawn, "best_of" if drawn > shown else "n")
    if body.leading_prompt:
        parts = [[*each, body.leading_prompt] for each in parts]
    prompts = [await read_prompt(each, model, special=body.add_special_tokens) for each in parts]
    tokens = sum(len(each.tokens) + drawn * min(most, model.room) for each in prompts)
    rules.check_facts(tokens, max(body.logprobs or 0, body.prompt_logprobs or 0), "logprobs")
    request = await generation_of(
        body, model, rules, whose, top=body.logprobs or 0, wanted=wanted_constraints(body)
    )
    choices = [
        DrawnChoice(
            place * drawn + number,
            replace(
                request,
                prompt=prompt.tokens,
                choice=number,
                most=min(most, model.room - len(prompt.tokens)),
                further=place + number > 0,
            ),
            model.vocabulary,
            stop_shown=stops_shown(body),
        )
        for place, prompt in enumerate(prompts)
        for number in range(drawn)
    ]
    return CompletionPlan(body, model, prompts, choices, drawn, shown)


def _check_fields(body: Any, most: int) -> None:
    if body.suffix:
        raise unsupported("suffix")
    if body.stream and (body.best_of or 1) > (body.n or 1):
        raise bad_field("best_of", "best_of cannot be streamed", "The best is known at the end.")
    check_generation(body, most, logprobs=body.logprobs is not None)


def _prompts(given: Any) -> Iterator[list[Part]]:
    """Each prompt, in parts. Raises ApiError."""
    if isinstance(given, str) or (given and all(isinstance(each, int) for each in given)):
        yield [given]
    elif given and len({type(each) for each in given}) == 1:
        for each in given:
            yield [each]
    else:
        raise bad_field(
            "prompt", "The prompts are of several kinds" if given else "There is no prompt",
            "A text, texts, token ids or lists of token ids.",
        )  # fmt: skip


@dataclass(slots=True, eq=False)
class _ToldChoice:
    """How one choice is told: its text and logprobs, with the prompt's where it is echoed."""

    plan: CompletionPlan
    choice: DrawnChoice
    prompt: RequestPrompt
    scores: Sequence[PromptToken] | None
    logprobs: LegacyLogprobs | None = field(init=False)

    def __post_init__(self) -> None:
        body = self.plan.body
        by_id = bool(body.return_tokens_as_token_ids)
        asked = body.logprobs is not None
        self.logprobs = LegacyLogprobs(self.plan.model.vocabulary, by_id) if asked else None

    def beginning(self) -> dict[str, Any]:
        """What is told of the prompt."""
        body = self.plan.body
        told: dict[str, Any] = {}
        if body.echo and self.logprobs is not None and self.scores is not None:
            self.logprobs.add(self.prompt.tokens[0], None)
            for token in self.scores:
                self.logprobs.add(token.id, token.logprob, token.top[: body.logprobs])
        if body.return_token_ids:
            told["prompt_token_ids"] = list(self.prompt.tokens)
        if body.prompt_logprobs is not None and self.scores is not None:
            told["prompt_logprobs"] = prompt_rows(
                self.scores, body.prompt_logprobs, self.plan.model.vocabulary
            )
        return told

    def add(self, token: GeneratedToken) -> None:
        """The logprobs of a token that was drawn."""
        if self.logprobs is not None:
            watched = zip(self.choice.request.watched, token.watched, strict=True)
            self.logprobs.add(token.id, token.logprob, token.top, list(watched))

    def part(
        self, text: str, tokens: Sequence[GeneratedToken], end: GenerationEnd | None
    ) -> dict[str, Any]:
        """What goes into `choices`."""
        told: dict[str, Any] = {
            "index": self.choice.index,
            "text": text,
            "logprobs": None if self.logprobs is None else self.logprobs.taken(),
            "finish_reason": None if end is None else self.choice.finish_reason,
        }
        if end is not None:
            told["stop_reason"] = self.choice.stop_reason
        if self.plan.body.return_token_ids:
            told["token_ids"] = [token.id for token in tokens]
        return told

    @property
    def echoed(self) -> str:
        return self.prompt.text if self.plan.body.echo else ""


async def _told(plan: CompletionPlan) -> list[_ToldChoice]:
    """How each choice is told; reads the prompts where they are asked about."""
    body = plan.body
    echoed = body.echo and body.logprobs is not None
    top = max(body.logprobs or 0 if echoed else 0, body.prompt_logprobs or 0)
    scores: list[Sequence[PromptToken] | None] = [None] * len(plan.prompts)
    if echoed or body.prompt_logprobs is not None:
        scores = [await prompt_scores(plan.model, each.tokens, top) for each in plan.prompts]
    return [
        _ToldChoice(plan, choice, plan.prompts[place], scores[place])
        for choice in plan.choices
        for place in [choice.index // plan.drawn]
    ]


async def complete(plan: CompletionPlan) -> Answer:
    """All choices, drawn to their ends. Raises LltermError."""
    told = await _told(plan)
    async with aclosing(draw_choices(plan.model.generator, plan.choices)) as steps:
        async for _ in steps:
            pass
    choices: list[Answer] = []
    for place in range(len(plan.prompts)):
        group = told[place * plan.drawn : (place + 1) * plan.drawn]
        if plan.drawn > plan.shown:
            group = sorted(group, key=lambda each: -each.choice.logprob_per_token)[: plan.shown]
        for each in group:
            each.choice.index = len(choices)
            beginning = each.beginning()
            for token in each.choice.tokens:
                each.add(token)
            text = each.echoed + each.choice.text
            end = each.choice.end
            choices.append({**each.part(text, each.choice.tokens, end), **beginning})
    return {**_head(plan), "choices": choices, "usage": usage(plan.choices)}


async def stream_completion(plan: CompletionPlan) -> AsyncGenerator[Answer]:
    """The chunks of the same; nothing before there is a token, or an error."""
    body = plan.body
    options = body.stream_options
    counted = options is not None and (options.include_usage or options.continuous_usage_stats)
    continuous = options is not None and options.continuous_usage_stats
    told = await _told(plan)
    begun: set[int] = set()

    def chunk(choices: Sequence[Answer]) -> Answer:
        shown = {"usage": usage(plan.choices) if continuous else None} if counted else {}
        return {**_head(plan), "choices": choices, **shown}

    async with aclosing(draw_choices(plan.model.generator, plan.choices)) as steps:
        async for step in steps:
            part = _stream_part(told[step[0].index], step, begun)
            if part is not None:
                yield chunk([part])
    if counted:
        yield {**_head(plan), "choices": [], "usage": usage(plan.choices)}


def _stream_part(told: _ToldChoice, step: Step, begun: set[int]) -> Answer | None:
    """What one step adds to the stream; None for a token of which nothing is shown yet."""
    choice, drawn, text = step
    beginning: dict[str, Any] = {}
    if choice.index not in begun:
        begun.add(choice.index)
        beginning = told.beginning()
        text = told.echoed + text
    end = drawn if isinstance(drawn, GenerationEnd) else None
    tokens = [drawn] if isinstance(drawn, GeneratedToken) else []
    for token in tokens:
        told.add(token)
    part = told.part(text, tokens, end)
    silent = not text and end is None and not beginning
    if silent and told.logprobs is None and not part.get("token_ids"):
        return None
    return {**part, **beginning}


def _head(plan: CompletionPlan) -> dict[str, Any]:
    return {
        "id": plan.id,
        "object": "text_completion",
        "created": plan.created,
        "model": plan.model.name,
    }
