"""Weave settings as a loom keeps them."""

from __future__ import annotations

import json
from dataclasses import asdict, fields

from llterm.core.rules import Rules


def rules_text(rules: Rules) -> str:
    """The settings as JSON."""
    return json.dumps(asdict(rules))


def read_rules(text: str) -> Rules:
    """Settings from a loom; those that this version does not know are passed over.

    Raises ValueError, TypeError or AttributeError where the text holds no settings.
    """
    known = {field.name for field in fields(Rules)}
    found = {name: value for name, value in json.loads(text).items() if name in known}
    if "stops" in found:
        found["stops"] = tuple(found["stops"])
    return Rules(**found)


def changed(before: str, after: str) -> set[str]:
    """The names of the settings that differ between two JSON texts."""
    one, other = json.loads(before), json.loads(after)
    return {name for name in {*one, *other} if one.get(name) != other.get(name)}
