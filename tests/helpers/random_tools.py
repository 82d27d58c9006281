"""Tools with random schemas of arguments, and whether calls fit them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from tests.helpers.json_schema import faults

_NAMES = ("city", "days", "unit", "from_date", "note", "deep-er", "x", "Options")
Schema = dict[str, Any]


def random_tools(random: Random, count: int) -> list[dict[str, Any]]:
    """As a body has them; all texts and lists in their arguments have an end."""
    return [
        {
            "type": "function",
            "function": {
                "name": f"tool_{number}",
                "description": f"Does {number}.",
                "parameters": _object(random, 2),
            },
        }
        for number in range(count)
    ]


def _object(random: Random, depth: int) -> Schema:
    names = random.sample(_NAMES, random.randint(0, 4))
    return {
        "type": "object",
        "properties": {name: _value(random, depth - 1) for name in names},
        "required": [name for name in names if random.random() < 0.6],
        "additionalProperties": False,
    }


def _value(random: Random, depth: int) -> Schema:
    kind = random.randrange(9 if depth else 7)
    match kind:
        case 0:
            return {"type": "string", "maxLength": random.randint(0, 12)}
        case 1:
            return {
                "type": "string",
                "enum": ["celsius", 'a "b"', "</x>", "é🦊"][: random.randint(1, 4)],
            }
        case 2:
            return {"type": "integer", "minimum": -5, "maximum": random.randint(0, 5000)}
        case 3:
            return {"type": "boolean"}
        case 4:
            return {"type": "null"}
        case 5:
            return {"const": random.choice([1, "fixed", True])}
        case 6:
            return {"enum": [1, "two", None]}
        case 7:
            return {"type": "array", "items": _value(random, depth - 1), "maxItems": 3}
    return _object(random, depth)


def call_faults(tools: Sequence[Mapping[str, Any]], name: str, arguments: str) -> list[str]:
    """What is wrong with a call of one of these tools; empty for a good one."""
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in tools}
    if name not in schemas:
        return [f"there is no {name}"]
    try:
        value = json.loads(arguments)
    except ValueError as error:
        return [f"{error}: {arguments}"]
    return faults(value, schemas[name], schemas[name])
