"""The JSON of `sample`, whole and line by line; docs/json.md says what the fields mean."""

from __future__ import annotations

from typing import Any

from llterm.config.sampling_values import value_of
from llterm.config.schema import SAMPLING
from llterm.core.chat_messages import chat_fields
from llterm.core.json_text import json_text, text_fields, text_value
from llterm.engine.drafted_samples import DraftCount
from llterm.jobs.sample import SampledText, SampledToken, SampleResult
from llterm.reports.json_values import (
    constraint_fields,
    cost_fields,
    number_value,
    sight_fields,
    token_fields,
)

VERSION = 1


def as_json(result: SampleResult) -> str:
    """One object. Pure ASCII, so that nothing in it can act on a terminal."""
    value = {
        "version": VERSION,
        "model": result.model,
        "vocabulary": result.vocabulary.fingerprint,
        "kernels": result.kernels,
        "prompt": text_value(result.story.text),
        "prefix": result.story.prefix,
        "chat": chat_fields(result.story.chat) if result.story.chat else None,
        "sampling": {row.name: value_of(result.story.sampling, row.name) for row in SAMPLING},
        "constraint": constraint_fields(result.constraint),
        "caveat": result.caveat,
        "continuations": [_sample(each) for each in result.samples],
        "stats": {
            **cost_fields(result.cost, result.seconds, prompt=True),
            **sight_fields(result.sight, result.context),
        },
        "draft": _draft(result.draft),
    }
    return json_text(value, indent=2)


def _draft(count: DraftCount | None) -> dict[str, Any] | None:
    if count is None:
        return None
    return {"model": count.name, "proposed": count.proposed, "accepted": count.accepted}


def as_line(sampled: SampledText) -> str:
    """One sample as one line of JSON."""
    return json_text(_sample(sampled))


def _sample(sampled: SampledText) -> dict[str, Any]:
    sample = sampled.sample
    return {
        "index": sample.number,
        **text_fields(sample.data),
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
