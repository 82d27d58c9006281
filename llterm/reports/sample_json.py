"""The JSON of `sample`, whole and line by line; docs/json.md says what the fields mean."""

from __future__ import annotations

from typing import Any

from llterm.config.sampling_values import value_of
from llterm.config.schema import SAMPLING
from llterm.core.chat_messages import chat_fields
from llterm.core.json_text import json_text
from llterm.core.sampling.sampler_settings import Sampling
from llterm.jobs.sample import SampledText, SampledToken, SampleResult
from llterm.reports.json_values import number_value, sight_fields, text_value, token_fields

VERSION = 1


def as_json(result: SampleResult) -> str:
    """One object. Pure ASCII, so that nothing in it can act on a terminal."""
    cost = result.cost
    constraint = result.constraint
    value = {
        "version": VERSION,
        "model": result.model,
        "vocabulary": result.vocabulary.fingerprint,
        "prompt": text_value(result.text),
        "prefix": result.prefix,
        "chat": chat_fields(result.chat) if result.chat else None,
        "sampling": sampling_settings(result.sampling),
        "constraint": constraint and {"kind": constraint.kind, "text": constraint.text},
        "caveat": result.caveat,
        "continuations": [_sample(each) for each in result.samples],
        "stats": {
            "seconds": round(result.seconds, 6),
            "tokens_evaluated": cost.tokens,
            "prompt_tokens_evaluated": cost.prompt_tokens,
            "decodes": cost.decodes,
            "requests": cost.requests,
            **sight_fields(result.sight, result.context),
        },
    }
    return json_text(value, indent=2)


def as_line(sampled: SampledText) -> str:
    """One sample as one line of JSON."""
    return json_text(_sample(sampled))


def sampling_settings(sampling: Sampling) -> dict[str, Any]:
    """Every sampler setting in force, under its name in `llterm.toml`."""
    values = {row.name: value_of(sampling, row.name) for row in SAMPLING}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }


def _sample(sampled: SampledText) -> dict[str, Any]:
    sample = sampled.sample
    return {
        "index": sample.number,
        "text": text_value(sample.data),
        "bytes": list(sample.data),
        "tokens": [_token(token) for token in sampled.tokens],
        "logprob": number_value(sampled.logprob),
        "finish": sample.finish,
    }


def _token(sampled: SampledToken) -> dict[str, Any]:
    token = sampled.token
    return {
        **token_fields(token),
        "special": token.special,
        "logprob": number_value(sampled.logprob),
        "p_final": min(sampled.p, 1.0),
    }
