"""Weave and sampler settings as a loom keeps them."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from llterm.core.bans import Bans
from llterm.core.jsontext import json_text
from llterm.core.rules import Rules
from llterm.core.sampling import SamplerSettings, Sampling


def rules_text(rules: Rules) -> str:
    """The settings as JSON."""
    return json_text(asdict(rules), bytes_kept=True)


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
    """The names of the settings that differ between two JSON texts.

    A preset's name does not count: it only says what the others are.
    """
    one, other = json.loads(before), json.loads(after)
    names = {*one, *other} - {"preset"}
    return {name for name in names if one.get(name) != other.get(name)}


def sampling_text(sampling: Sampling) -> str:
    """Sampler settings as JSON: one flat object, so that two of them can be compared by name."""
    found = asdict(sampling)
    return json_text({**found.pop("settings"), **found}, bytes_kept=True)


def read_sampling(text: str) -> Sampling | None:
    """Sampler settings from a loom; None where it holds none.

    Raises ValueError, TypeError or AttributeError where the text holds no settings.
    """
    found = json.loads(text)
    if not found:
        return None
    known = {one.name for one in fields(SamplerSettings)}
    settings = {name: _tuples(value) for name, value in found.items() if name in known}
    bans = {one.name: _tuples(found["bans"][one.name])
            for one in fields(Bans) if one.name in found.get("bans", {})}  # fmt: skip
    return Sampling(
        SamplerSettings(**settings),
        found.get("preset"),
        Bans(**bans),
        _tuples(found.get("bias", ())),
        found.get("ideal_length", 0),
    )


def _tuples(value: Any) -> Any:
    """JSON's lists as tuples, all the way down."""
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
