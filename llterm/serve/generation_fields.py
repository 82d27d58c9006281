"""What every body that draws texts asks for, as one request to whoever draws."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any

from llterm.constraints.spec import Constraint, regex
from llterm.core.tokens import Tail
from llterm.engine.generation import GenerationRequest
from llterm.serve.api_errors import bad_field
from llterm.serve.body_constraints import (
    Wanted,
    begun_by,
    begun_with,
    grammar_of,
    of_response_format,
    of_structured_outputs,
    only_one,
)
from llterm.serve.request_rules import RequestRules
from llterm.serve.sampler_fields import sampling_of
from llterm.serve.served_models import ServedModel

_ID_LISTS = ("stop_token_ids", "logprob_token_ids", "allowed_token_ids")


def check_generation(body: Any, most: int, *, logprobs: bool) -> None:
    """Raise ApiError for fields that do not go together. `most`: tokens of a text; `logprobs`: they
    are told."""
    if body.stream_options is not None and not body.stream:
        raise bad_field("stream_options", "stream_options need stream")
    if body.stop is not None and body.stop_words is not None:
        raise bad_field("stop_words", "stop and stop_words do not go together",
                        "The one is left out of the text, the other is in it.")  # fmt: skip
    if body.min_tokens > most:
        raise bad_field("min_tokens", "min_tokens are more than max_tokens")
    if body.do_sample is False and body.temperature != 0:
        raise bad_field("do_sample", "do_sample is false, and temperature is not 0")
    for name in ("dynamic_temperature", "dynatemp_low", "dynatemp_high"):
        if getattr(body, name) and body.dynatemp_range is None:
            raise bad_field(name, f"{name} needs dynatemp_range", "It is temperature ± that.")
    if body.logprob_token_ids and not logprobs:
        raise bad_field("logprob_token_ids", "logprob_token_ids need logprobs")


def most_tokens(body: Any) -> int | None:
    """The most tokens of a text, -1 for as many as there is room for; None where nothing is said.
    Raises ApiError."""
    names = ("max_tokens", "max_completion_tokens", "n_predict")
    given = {name: count for name in names if (count := getattr(body, name)) is not None}
    if len(set(given.values())) > 1:
        raise bad_field("max_tokens", f"{' and '.join(given)} differ")
    return next(iter(given.values()), None)


def wanted_constraints(body: Any) -> Iterator[Wanted]:
    """What the fields of every such body want the text to fit."""
    yield from of_response_format(body.response_format)
    yield from of_structured_outputs(body.structured_outputs)
    if body.grammar_string is not None:
        yield "grammar_string", grammar_of(body.grammar_string, "grammar_string")
    if body.regex_pattern is not None:
        yield "regex_pattern", regex(body.regex_pattern)
    if body.regex_prefix_pattern is not None:
        yield "regex_prefix_pattern", begun_by(body.regex_prefix_pattern)
    if body.prefix_strings is not None:
        yield "prefix_strings", _begun(body.prefix_strings)


def _begun(given: str | list[str]) -> Constraint:
    return begun_with([given] if isinstance(given, str) else given)


def stops_of(body: Any) -> tuple[str, ...]:
    """The texts that end a text."""
    return stop_texts(body.stop if body.stop_words is None else body.stop_words)


def stop_texts(given: Any) -> tuple[str, ...]:
    """One text, several, or none."""
    return (given,) if isinstance(given, str) else tuple(given or ())


def stops_shown(body: Any) -> bool:
    """Whether the stop text that ends a text is part of it."""
    return body.include_stop_str_in_output or body.stop_words is not None


async def generation_of(
    body: Any,
    model: ServedModel,
    rules: RequestRules,
    whose: str,
    *,
    top: int,
    wanted: Iterable[Wanted],
) -> GenerationRequest:
    """How each text is drawn, whatever its prompt, number and length, which are not set.

    `top`: candidates told with a token; `wanted`: the one thing that it is to fit, if any. Raises
    ApiError.
    """
    model.check_predicts()
    sampling = await sampling_of(body, rules, model)
    ids: dict[str, Tail] = {
        name: model.check_ids(getattr(body, name) or (), name) for name in _ID_LISTS
    }
    constraint = only_one(wanted)
    if constraint is not None and most_tokens(body) == 0:
        # Nothing is drawn that would show what is wrong with it.
        fault = await asyncio.to_thread(constraint.fault)
        if fault:
            raise constraint.refused(fault)
    return GenerationRequest(
        prompt=(),
        sampling=sampling,
        least=body.min_tokens,
        ignore_end=body.ignore_eos or body.ban_eos_token,
        stops=stops_of(body),
        stop_ids=frozenset(ids["stop_token_ids"]),
        constraint=constraint,
        top=top,
        watched=ids["logprob_token_ids"],
        allowed=None if body.allowed_token_ids is None else frozenset(ids["allowed_token_ids"]),
        whose=whose,
    )
