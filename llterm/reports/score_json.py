"""The JSON of `score`, described in docs/json.md and docs/schema/score.json."""

from __future__ import annotations

import math
from typing import Any

from llterm.core.chat_messages import chat_fields
from llterm.core.json_text import json_text
from llterm.core.scored_text import TokenReading
from llterm.jobs.score import ScoreResult
from llterm.reports.json_values import cost_fields, token_fields

VERSION = 1


def score_json(result: ScoreResult) -> str:
    """One object; documented in docs/json.md."""
    summary = result.summary
    fields = {
        "version": VERSION,
        "model": result.model,
        "vocabulary": result.fingerprint,
        "kernels": result.kernels,
        "chat": chat_fields(result.chat) if result.chat else None,
        "tokens": [_reading(reading) for reading in result.readings],
        "perplexity": summary.perplexity,
        "bits_per_byte": summary.bits_per_byte,
        "mean_entropy": summary.entropy,
        "lower_bounds": ["mean_entropy"] if summary.at_least else [],
        "first_choices": summary.first,
        "scored_bytes": summary.bytes,
        "text_tokens": result.tokens,
        "method": result.method,
        "window": result.window,
        "stride": result.stride,
        "stats": cost_fields(result.cost, result.seconds),
    }
    return json_text(fields, indent=2)


def _reading(reading: TokenReading) -> dict[str, Any]:
    return {
        "index": reading.index,
        **token_fields(reading.token),
        "logprob": reading.logprob,
        "surprisal": reading.surprisal,
        "rank": reading.rank,
        "entropy": reading.entropy,
        "lower_bounds": sorted(reading.at_least),
        "top": [{**token_fields(c.token), "p": math.exp(c.logprob)} for c in reading.top],
    }
