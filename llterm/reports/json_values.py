"""What the JSON of results is made of, alike in every command.

`core.json_text` writes numbers of Python's own that JSON has no word for as null.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from llterm.constraints.spec import Constraint
from llterm.core.json_text import json_text, text_fields
from llterm.core.query import Cost
from llterm.core.tokens import Token
from llterm.core.windows import SeenStory


def token_fields(token: Token) -> dict[str, Any]:
    """A token, its text and its exact bytes."""
    return {"id": token.id, **text_fields(token.data)}


def number_value(value: float) -> float | None:
    """A number of any kind; JSON has no infinities."""
    return float(value) if math.isfinite(value) else None


def probability(logprob: float) -> float:
    """Of a natural log, whose rounding may lie above 0."""
    return math.exp(min(logprob, 0.0))


def cost_fields(cost: Cost, seconds: float, *, prompt: bool = False) -> dict[str, Any]:
    """What a result took; with `prompt`, how much of it was the story before what was asked."""
    return {
        "seconds": round(seconds, 6),
        "tokens_evaluated": cost.tokens,
        **({"prompt_tokens_evaluated": cost.prompt_tokens} if prompt else {}),
        "decodes": cost.decodes,
        "requests": cost.requests,
    }


def constraint_fields(constraint: Constraint | None) -> dict[str, str] | None:
    """What every suggestion or continuation must fit."""
    return None if constraint is None else {"kind": constraint.kind, "text": constraint.text}


def sight_fields(sight: SeenStory, context: int) -> dict[str, int]:
    """What the model sees of the text, for the stats."""
    return {
        "story_tokens": sight.story,
        "dropped_tokens": sight.dropped,
        "window_start": sight.start,
        "memory_tokens": sight.hidden,
        "context": context,
    }


def streamed(
    head: Mapping[str, Any], name: str, rows: Iterable[Mapping[str, Any]]
) -> Iterator[str]:
    """An object with one more field, a list with a row a line, in parts as the rows are made."""
    text = json_text(head, indent=2)
    yield text[: text.rindex("\n")] + f',\n  "{name}": ['
    between = "\n"
    for row in rows:
        yield between + "    " + json_text(row)
        between = ",\n"
    yield "\n  ]\n}\n"
