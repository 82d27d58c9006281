"""llama.cpp's `/completion`: from its body to what is drawn, and from that to its shape."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from llterm.core.tokens import Vocabulary
from llterm.engine.generation import GeneratedToken, GenerationEnd, GenerationRequest
from llterm.serve.api_errors import bad_field, check_neutral
from llterm.serve.body_constraints import Wanted, grammar_of, only_one, schema_of
from llterm.serve.choice_timings import timings
from llterm.serve.drawn_choices import DrawnChoice, draw_choices
from llterm.serve.legacy_logprobs import sayable
from llterm.serve.llamacpp_bodies import NEUTRAL_ONLY, NO_PICTURES, PromptObject
from llterm.serve.llamacpp_settings import llamacpp_biases, llamacpp_settings
from llterm.serve.request_prompts import Part, RequestPrompt, read_prompt
from llterm.serve.request_rules import RequestRules
from llterm.serve.sampler_fields import sampling_of
from llterm.serve.served_models import ServedModel

Answer = Mapping[str, Any]


@dataclass(slots=True, eq=False)
class LlamaCppPlan:
    """A request that is understood, and may be drawn."""

    body: Any
    """A `LlamaCppBody`: mypy does not know the fields that are made from the configuration."""
    model: ServedModel
    prompts: Sequence[RequestPrompt]
    choices: Sequence[DrawnChoice]

    @property
    def streams(self) -> bool:
        return bool(self.body.stream)

    @property
    def single(self) -> bool:
        """One text was asked for: the answer is no list."""
        return len(self.choices) == 1


async def plan_llamacpp(
    body: Any, model: ServedModel, rules: RequestRules, whose: str
) -> LlamaCppPlan:
    """Read a body whole. Raises LltermError for what cannot be; nothing has been drawn then."""
    check_neutral(body, NEUTRAL_ONLY)
    count = body.n_cmpl if body.n is None else body.n
    parts = list(_prompts(body.prompt))
    rules.check_choices(len(parts), count, "n_cmpl" if body.n is None else "n")
    prompts = [await read_prompt(each, model) for each in parts]
    given = body.max_tokens if body.n_predict is None else body.n_predict
    most = model.room if given in (None, -1) else int(given)
    rooms = [min(most, model.room - len(each.tokens)) for each in prompts]
    rules.check_facts(sum(rooms) * count, body.n_probs, "n_probs")
    sampling = await sampling_of(body, rules, model)
    constraint = only_one(_wanted(body))
    stops = (body.stop,) if isinstance(body.stop, str) else tuple(body.stop or ())
    choices = [
        DrawnChoice(
            place * count + number,
            GenerationRequest(
                prompt=prompt.tokens,
                sampling=sampling,
                choice=number,
                most=rooms[place],
                ignore_end=body.ignore_eos,
                stops=stops,
                constraint=constraint,
                top=0 if body.post_sampling_probs else body.n_probs,
                kept=body.n_probs if body.post_sampling_probs else 0,
                whose=whose,
                further=place + number > 0,
            ),
            model.vocabulary,
        )
        for place, prompt in enumerate(prompts)
        for number in range(count)
    ]
    return LlamaCppPlan(body, model, prompts, choices)


def _is_list(given: Any) -> bool:
    """Whether these are several prompts, and not one in parts."""
    whole = any(isinstance(each, list | PromptObject) for each in given)
    return whole or all(isinstance(each, str) for each in given)


def _prompts(given: Any) -> Iterator[list[Part]]:
    """Each prompt in parts. Texts and ids in one list are one prompt; several texts are several."""
    if isinstance(given, str | PromptObject):
        yield [_prompt_text(given)]
    elif not given:
        raise bad_field("prompt", "There is no prompt", "A text, or texts and token ids.")
    elif _is_list(given):
        for each in given:
            if isinstance(each, int):
                raise bad_field("prompt", "The prompts are of several kinds")
            yield list(_parts(each)) if isinstance(each, list) else [_prompt_text(each)]
    else:
        yield list(_parts(given))


def _prompt_text(given: str | PromptObject) -> str:
    if isinstance(given, str):
        return given
    check_neutral(given, NO_PICTURES)
    return given.prompt_string


def _parts(given: Sequence[str | int]) -> Iterator[Part]:
    """Ids in a row are one part."""
    ids: list[int] = []
    for each in given:
        if isinstance(each, int):
            ids.append(each)
            continue
        if ids:
            yield ids
            ids = []
        yield each
    if ids:
        yield ids


def _wanted(body: Any) -> Iterator[Wanted]:
    if body.grammar is not None:
        yield "grammar", grammar_of(body.grammar, "grammar")
    if body.json_schema is not None:
        yield "json_schema", schema_of(body.json_schema)


async def complete_llamacpp(plan: LlamaCppPlan) -> Answer | list[Answer]:
    """All choices, drawn to their ends. Raises LltermError."""
    async with aclosing(draw_choices(plan.model.generator, plan.choices)) as steps:
        async for _ in steps:
            pass
    answers = [_of_fields(plan, _final(plan, choice)) for choice in plan.choices]
    return answers[0] if plan.single else answers


async def stream_llamacpp(plan: LlamaCppPlan) -> AsyncGenerator[Answer]:
    """The parts of the same, as they come."""
    async with aclosing(draw_choices(plan.model.generator, plan.choices)) as steps:
        async for choice, drawn, text in steps:
            if isinstance(drawn, GenerationEnd):
                if text:
                    yield _part(plan, choice, text, [])
                yield _of_fields(plan, {**_final(plan, choice), "content": "", "tokens": []})
            elif text or plan.body.n_probs or plan.body.return_tokens:
                yield _part(plan, choice, text, [drawn])


def _part(
    plan: LlamaCppPlan, choice: DrawnChoice, text: str, tokens: Sequence[GeneratedToken]
) -> Answer:
    part: dict[str, Any] = {
        "index": choice.index,
        "content": text,
        "tokens": [token.id for token in tokens],
        "stop": False,
        "id_slot": -1,
        "tokens_predicted": len(choice.tokens),
        "tokens_evaluated": len(choice.request.prompt),
    }
    if plan.body.n_probs:
        part["completion_probabilities"] = _probabilities(plan, tokens)
    return part


def _final(plan: LlamaCppPlan, choice: DrawnChoice) -> dict[str, Any]:
    end, prompt = choice.end, plan.prompts[choice.index * len(plan.prompts) // len(plan.choices)]
    kinds = {"end": "eos", "stop": "word", "length": "limit", "stuck": "eos"}
    answer: dict[str, Any] = {
        "index": choice.index,
        "content": choice.text,
        "tokens": [token.id for token in choice.tokens] if plan.body.return_tokens else [],
        "id_slot": -1,
        "stop": True,
        "model": plan.model.name,
        "tokens_predicted": len(choice.tokens),
        "tokens_evaluated": len(choice.request.prompt),
        "tokens_cached": 0 if end is None else end.cached,
        "generation_settings": _settings(plan, choice),
        "prompt": prompt.text,
        "has_new_line": "\n" in choice.text,
        "truncated": False,
        "stop_type": "none" if end is None else kinds[end.finish],
        "stopping_word": choice.held.stop or "",
        "timings": timings([choice]),
    }
    if plan.body.n_probs and not plan.body.stream:
        answer["completion_probabilities"] = _probabilities(plan, choice.tokens)
    return answer


def _of_fields(plan: LlamaCppPlan, answer: Mapping[str, Any]) -> Answer:
    """What is to be told of a whole answer, by the paths that it was asked by."""
    if not plan.body.response_fields:
        return answer
    fields: dict[str, Any] = {}
    for path in plan.body.response_fields:
        value: Any = answer
        for name in path.split("/"):
            value = value.get(name, _ABSENT) if isinstance(value, Mapping) else _ABSENT
        if value is not _ABSENT:
            fields[path] = value
    return fields


_ABSENT = object()


def _settings(plan: LlamaCppPlan, choice: DrawnChoice) -> Answer:
    """What was in force, in llama.cpp's names."""
    sampling = choice.request.sampling
    banned = plan.model.ends if choice.request.ignore_end else ()
    return {
        **llamacpp_settings(sampling.settings),
        "logit_bias": llamacpp_biases(sampling.bias, banned),
        "n_predict": choice.request.most,
        "max_tokens": choice.request.most,
        "ignore_eos": choice.request.ignore_end,
        "stop": choice.request.stops,
        "n_probs": plan.body.n_probs,
        "stream": plan.body.stream,
        "post_sampling_probs": plan.body.post_sampling_probs,
    }


def _probabilities(plan: LlamaCppPlan, tokens: Sequence[GeneratedToken]) -> list[Answer]:
    vocabulary = plan.model.vocabulary
    if plan.body.post_sampling_probs:
        return [
            {
                **_entry(vocabulary, token.id),
                "prob": token.p,
                "top_probs": [{**_entry(vocabulary, id), "prob": p} for id, p in token.kept],
            }
            for token in tokens
        ]
    return [
        {
            **_entry(vocabulary, token.id),
            "logprob": sayable(token.logprob),
            "top_logprobs": [
                {**_entry(vocabulary, id), "logprob": sayable(value)} for id, value in token.top
            ],
            **_before_2025(vocabulary, token),
        }
        for token in tokens
    ]


def _before_2025(vocabulary: Vocabulary, token: GeneratedToken) -> Answer:
    """The names that llama.cpp had until December 2024, which LLooM reads."""
    probs = [{"tok_str": _text(vocabulary, id), "prob": math.exp(value)} for id, value in token.top]
    return {"content": _text(vocabulary, token.id), "probs": probs}


def _entry(vocabulary: Vocabulary, id: int) -> dict[str, Any]:
    return {
        "id": id,
        "token": _text(vocabulary, id),
        "bytes": list(vocabulary.token(id).data),
    }


def _text(vocabulary: Vocabulary, id: int) -> str:
    return vocabulary.token(id).data.decode("utf-8", "replace")
