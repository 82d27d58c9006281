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
from llterm.core.jsontext import json_text
from llterm.core.rules import Rules
from llterm.core.suggestion_tree import Branch, Suggestion
from llterm.core.windows import SeenStory
from llterm.headless.job import Woven

VERSION = 1


def as_json(woven: Woven) -> str:
    """One object. Pure ASCII, so that nothing in it can act on a terminal."""
    return json_text(result(woven), indent=2)


def result(woven: Woven) -> dict[str, Any]:
    """The object itself."""
    view, figures = woven.view, woven.figures
    return {
        "version": VERSION,
        "model": woven.model,
        "vocabulary": woven.vocabulary.fingerprint,
        "prompt": _text(woven.text),
        "prefix": woven.prefix,
        "chat": chat_fields(woven.chat) if woven.chat else None,
        "settings": _settings(woven.rules),
        "constraint": _constraint(woven.constraint),
        "bans": _bans(woven.bans),
        "mix": None if woven.mixed is None else asdict(woven.mixed),
        "suggestions": [_suggestion(one) for one in view.suggestions],
        "tree": [_branch(one) for one in view.branches],
        "stats": {
            "seconds": round(figures.seconds, 6),
            "tokens_evaluated": figures.tokens,
            "prompt_tokens_evaluated": figures.prompt_tokens,
            "decodes": figures.decodes,
            "requests": figures.requests,
            "coverage": [_number(share) for share in view.coverage],
            "settled": view.settled,
            "bound": _number(view.bound),
            "done": view.done,
            "looked_at": view.looked_at,
            **sight_fields(figures.sight, figures.context),
            "servers": [{"model": one.model, **asdict(one.spent)} for one in woven.counted],
        },
    }


def sight_fields(sight: SeenStory | None, context: int) -> dict[str, int]:
    """What the model sees of the text, for the stats."""
    seen = sight or SeenStory()
    return {
        "story_tokens": seen.story,
        "dropped_tokens": seen.dropped,
        "window_start": seen.start,
        "memory_tokens": seen.hidden,
        "context": context,
    }


def _settings(rules: Rules) -> dict[str, Any]:
    names = {row.attribute: row.name for row in WEAVE}
    values = {names[one.name]: getattr(rules, one.name) for one in fields(Rules)}
    return {name: list(one) if isinstance(one, tuple) else one for name, one in values.items()}


def _bans(bans: Bans) -> dict[str, Any]:
    """Under their names in `llterm.toml`."""
    return {
        "ban": list(bans.phrases),
        "ban_newline": bans.newline,
        "ban_capitals": bans.capitals,
        "ban_refusals": bans.refusals,
    }


def _suggestion(one: Suggestion) -> dict[str, Any]:
    return {
        "text": _text(one.data),
        "bytes": list(one.data),
        "tokens": [_token(step) for step in one.steps],
        "p": _p(one.logprob),
        "logprob": _number(one.logprob),
        "p_per_token": _p(one.logprob_per_token),
        "p_same_text": _number(math.exp(one.logprob) + one.merged),
        "alike": [_text(data) for data in one.alike],
        "p_alike": _number(one.alike_p),
        "finish": one.finish,
        "share": one.share,
    }


def _token(step: Step) -> dict[str, Any]:
    return {
        "id": step.id,
        "text": _text(step.data),
        "bytes": list(step.data),
        "p": _p(step.logprob),
        "logprob": _number(step.logprob),
        "rank": step.rank,
        "special": step.special,
        "masked": min(max(1.0 - step.permitted, 0.0), 1.0),
    }


def _constraint(constraint: Constraint | None) -> dict[str, str] | None:
    return None if constraint is None else {"kind": constraint.kind, "text": constraint.text}


def _branch(branch: Branch) -> dict[str, Any]:
    return {
        "text": _text(branch.data),
        "bytes": list(branch.data),
        "ids": list(branch.tail),
        "p": _number(branch.p),
        "p_joint": _p(branch.logprob),
        "finish": branch.finish,
        "share": branch.share,
        "children": [_branch(child) for child in branch.children],
    }


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _p(logprob: float) -> float:
    return math.exp(min(logprob, 0.0))


def _number(value: float) -> float | None:
    """JSON has no infinities."""
    return float(value) if math.isfinite(value) else None
