"""Drawn continuations as text, as JSON and line by line; docs/json.md says what the fields mean."""

from __future__ import annotations

import math
from typing import Any

from llterm.backends.served import counted_words
from llterm.config.sampling_values import value_of
from llterm.config.schema import SAMPLING
from llterm.core.chat_messages import chat_fields
from llterm.core.counts import count_of
from llterm.core.display import display_text, visible
from llterm.core.jsontext import json_text
from llterm.core.sampling.sampler_settings import Sampling
from llterm.headless.results import sight_fields
from llterm.headless.sample import Continuation, Sampled, Taken

VERSION = 1
_ENDS = {"end": " ◂ end of text", "stuck": " ✗ nothing may follow", "failed": " …"}


def as_text(sampled: Sampled) -> str:
    """A single continuation as it is; several numbered, a line each."""
    lines = sampled.continuations
    if len(lines) == 1:
        return display_text(lines[0].line.data)
    ends = (_ENDS.get(one.line.finish or "", "") for one in lines)
    return "\n".join(
        f"{one.number + 1:3}  {visible(one.line.data)}{end}"
        for one, end in zip(lines, ends, strict=True)
    )


def as_json(sampled: Sampled) -> str:
    """One object. Pure ASCII, so that nothing in it can act on a terminal."""
    cost = sampled.cost
    constraint = sampled.constraint
    found = {
        "version": VERSION,
        "model": sampled.model,
        "vocabulary": sampled.vocabulary.fingerprint,
        "prompt": _text(sampled.text),
        "prefix": sampled.prefix,
        "chat": chat_fields(sampled.chat) if sampled.chat else None,
        "sampling": sampling_settings(sampled.sampling),
        "constraint": constraint and {"kind": constraint.kind, "text": constraint.text},
        "caveat": sampled.caveat,
        "continuations": [_continuation(one) for one in sampled.continuations],
        "stats": {
            "seconds": round(sampled.seconds, 6),
            "tokens_evaluated": cost.tokens,
            "prompt_tokens_evaluated": cost.prompt_tokens,
            "decodes": cost.decodes,
            "requests": cost.requests,
            **sight_fields(sampled.sight, sampled.context),
        },
    }
    return json_text(found, indent=2)


def as_line(one: Continuation) -> str:
    """One continuation as one line of JSON."""
    return json_text(_continuation(one))


def summary(sampled: Sampled) -> str:
    """What was done, in one line, and what is not exact about it."""
    cost, lines = sampled.cost, sampled.continuations
    drawn = sum(len(one.drawn) for one in lines)
    told = (
        f"{sampled.model}, {sampled.sampling.label}: {count_of(len(lines), 'continuation')}, "
        f"{count_of(drawn, 'token')} drawn in {count_of(cost.decodes, 'decode')}, "
        f"{sampled.seconds:.2f} s"
    )
    stuck = sum(one.line.finish == "stuck" for one in lines)
    if stuck:
        told += f"; {stuck} came to where bans and constraint allow nothing"
    error = next((one.line.error for one in lines if one.line.error is not None), None)
    if error is not None:
        told += f"; {error.title}: {error.cause}"
    seen = sampled.sight.dropping(sampled.context)
    told = "\n".join(filter(None, (told, seen, sampled.caveat)))
    return told + counted_words(sampled.counted)


def sampling_settings(sampling: Sampling) -> dict[str, Any]:
    """Every sampler setting in force, under its name in `llterm.toml`."""
    found = {row.name: value_of(sampling, row.name) for row in SAMPLING}
    return {name: list(one) if isinstance(one, tuple) else one for name, one in found.items()}


def _continuation(one: Continuation) -> dict[str, Any]:
    return {
        "index": one.number,
        "text": _text(one.line.data),
        "bytes": list(one.line.data),
        "tokens": [_token(token) for token in one.drawn],
        "logprob": _number(one.logprob),
        "finish": one.line.finish,
    }


def _token(taken: Taken) -> dict[str, Any]:
    token = taken.token
    return {
        "id": token.id,
        "text": _text(token.data),
        "bytes": list(token.data),
        "special": token.special,
        "logprob": _number(taken.logprob),
        "p_final": min(taken.p, 1.0),
    }


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _number(value: float) -> float | None:
    """JSON has no infinities."""
    return float(value) if math.isfinite(value) else None
