"""The JSON of `suggest`, described in docs/json.md and docs/schema/suggest.json."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from typing import Any

from llterm.config.schema import WEAVE
from llterm.constraints.spec import Constraint
from llterm.core.bans import Bans
from llterm.core.beams import Step
from llterm.core.chat_messages import chat_fields
from llterm.core.json_text import json_text
from llterm.core.suggestion_tree import Branch, Suggestion
from llterm.core.weave_settings import WeaveSettings
from llterm.jobs.suggest import SuggestResult
from llterm.reports.json_values import number_value, probability, sight_fields, text_value

VERSION = 1


def as_json(result: SuggestResult) -> str:
    """One object. Pure ASCII, so that nothing in it can act on a terminal."""
    view, cost = result.view, result.cost
    value = {
        "version": VERSION,
        "model": result.model,
        "vocabulary": result.vocabulary.fingerprint,
        "prompt": text_value(result.text),
        "prefix": result.prefix,
        "chat": chat_fields(result.chat) if result.chat else None,
        "settings": _settings(result.rules),
        "constraint": _constraint(result.constraint),
        "bans": _bans(result.bans),
        "mix": None if result.mix is None else asdict(result.mix),
        "suggestions": list(map(_suggestion, view.suggestions)),
        "tree": list(map(_branch, view.branches)),
        "stats": {
            "seconds": round(result.seconds, 6),
            "tokens_evaluated": cost.tokens,
            "prompt_tokens_evaluated": cost.prompt_tokens,
            "decodes": cost.decodes,
            "requests": cost.requests,
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
    values = {names[field.name]: getattr(rules, field.name) for field in fields(WeaveSettings)}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }


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
        "text": text_value(suggestion.data),
        "bytes": list(suggestion.data),
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
        "text": text_value(step.data),
        "bytes": list(step.data),
        "p": probability(step.logprob),
        "logprob": number_value(step.logprob),
        "rank": step.rank,
        "special": step.special,
        "masked": min(max(1.0 - step.permitted, 0.0), 1.0),
    }


def _constraint(constraint: Constraint | None) -> dict[str, str] | None:
    return None if constraint is None else {"kind": constraint.kind, "text": constraint.text}


def _branch(branch: Branch) -> dict[str, Any]:
    return {
        "text": text_value(branch.data),
        "bytes": list(branch.data),
        "ids": list(branch.tail),
        "p": number_value(branch.p),
        "p_joint": probability(branch.logprob),
        "finish": branch.finish,
        "share": branch.share,
        "children": [_branch(child) for child in branch.children],
    }
