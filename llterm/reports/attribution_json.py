"""The JSON of `score --attribution`, described in docs/json.md."""

from __future__ import annotations

from typing import Any

from llterm.core.attribution_methods import SHARES, SIGNED, AttributionSettings
from llterm.core.json_text import json_text
from llterm.jobs.attribute import AttributeResult
from llterm.reports.json_values import token_fields

VERSION = 1


def attribution_json(result: AttributeResult) -> str:
    """One object; documented in docs/json.md."""
    attribution = result.attribution
    how = attribution.how
    fields = {
        "version": VERSION,
        "model": result.model,
        "vocabulary": result.vocabulary.fingerprint,
        "kernels": result.kernels,
        "method": how.method,
        "unit": _unit(how),
        "signed": how.method in SIGNED,
        "layer": how.layer if how.method == "attention-layer" else None,
        "layers": list(attribution.layers),
        "token": {
            "index": result.index,
            **token_fields(result.token),
            "logprob": attribution.logprob,
        },
        "tokens": [_valued(result, place) for place in range(len(attribution.values))],
        "elsewhere": attribution.elsewhere,
        "steps": attribution.steps,
        "gap": attribution.gap,
        "notes": list(attribution.notes),
        "stats": {
            "seconds": round(result.seconds, 6),
            "tokens_evaluated": attribution.cost.tokens,
            "decodes": attribution.cost.decodes,
        },
    }
    return json_text(fields, indent=2)


def _unit(how: AttributionSettings) -> str:
    if how.method in SHARES:
        return "share"
    return "gradient" if how.method == "saliency" else "nats"


def _valued(result: AttributeResult, place: int) -> dict[str, Any]:
    index, token = result.contributor(place)
    without = result.attribution.without
    return {
        "index": index,
        **token_fields(token),
        "value": float(result.attribution.values[place]),
        "logprob_without": None if without is None else float(without[place]),
    }
