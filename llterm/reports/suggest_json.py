"""The JSON of `suggest`, described in docs/json.md and docs/schema/suggest.json."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from typing import Any

from llterm.config.schema import WEAVE
from llterm.core.bans import Bans
from llterm.core.beams import Step
from llterm.core.chat_messages import chat_fields
from llterm.core.json_text import json_text
from llterm.core.suggestion_tree import Branch, Suggestion
from llterm.core.weave_settings import WeaveSettings
from llterm.jobs.suggest import SuggestResult
from llterm.reports.json_values import (
    constraint_fields,
    cost_fields,
    number_value,
    probability,
    sight_fields,
    text_fields,
    text_value,
)

VERSION = 1


def as_json(result: SuggestResult) -> str:
    """One object. Pure ASCII, so that nothing in it can act on a terminal."""
    view = result.view
    value = {
        "version": VERSION,
        "model": result.model,
        "vocabulary": result.vocabulary.fingerprint,
        "kernels": result.kernels,
        "prompt": text_value(result.story.text),
        "prefix": result.story.prefix,
        "chat": chat_fields(result.story.chat) if result.story.chat else None,
        "settings": _settings(result.story.rules),
        "constraint": constraint_fields(result.constraint),
        "bans": _bans(result.story.sampling.bans),
        "mix": None if result.mix is None else asdict(result.mix),
        "suggestions": list(map(_suggestion, view.suggestions)),
        "tree": list(map(_branch, view.branches)),
        "stats": {
            **cost_fields(result.cost, result.seconds, prompt=True),
            "tokens_evaluated_again": result.cost.again,
            "coverage": [number_value(share) for share in view.coverage],
            "settled": view.settled,
            "bound": number_value(view.bound),
            "done": view.done,
            "looked_at": view.looked_at,
            **sight_fields(result.sight, result.context),
            "servers": [{"model": each.model, **asdict(each.spent)} for each in result.counted],
        },
    }
    return json_text(value, indent=2)


def _settings(rules: WeaveSettings) -> dict[str, Any]:
    names = {row.attribute: row.name for row in WEAVE}
    return {names[field.name]: getattr(rules, field.name) for field in fields(WeaveSettings)}


def _bans(bans: Bans) -> dict[str, Any]:
    """Under their names in `llterm.toml`."""
    return {
        "ban": list(bans.phrases),
        "ban_newline": bans.newline,
        "ban_capitals": bans.capitals,
        "ban_refusals": bans.refusals,
    }


def _suggestion(suggestion: Suggestion) -> dict[str, Any]:
    return {
        **text_fields(suggestion.data),
        "tokens": [_token(step) for step in suggestion.steps],
        "p": probability(suggestion.logprob),
        "logprob": number_value(suggestion.logprob),
        "p_per_token": probability(suggestion.logprob_per_token),
        "p_same_text": number_value(math.exp(suggestion.logprob) + suggestion.merged),
        "alike": [text_value(data) for data in suggestion.alike],
        "p_alike": number_value(suggestion.alike_p),
        "finish": suggestion.finish,
        "share": suggestion.share,
    }


def _token(step: Step) -> dict[str, Any]:
    return {
        "id": step.id,
        **text_fields(step.data),
        "p": probability(step.logprob),
        "logprob": number_value(step.logprob),
        "rank": step.rank,
        "special": step.special,
        "masked": min(max(1.0 - step.permitted, 0.0), 1.0),
    }


def _branch(branch: Branch) -> dict[str, Any]:
    return {
        **text_fields(branch.data),
        "ids": list(branch.tail),
        "p": number_value(branch.p),
        "p_joint": probability(branch.logprob),
        "finish": branch.finish,
        "share": branch.share,
        "children": [_branch(child) for child in branch.children],
    }
