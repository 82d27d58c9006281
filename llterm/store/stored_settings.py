"""What a loom keeps by name: settings as JSON, where the person is. What reads raises `Damage`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, fields
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from llterm.config.schema import PRESET, WEAVE
from llterm.constraints.spec import read_constraint
from llterm.core.bans import Bans
from llterm.core.chat_messages import chat_from
from llterm.core.history import Value
from llterm.core.json_text import json_text
from llterm.core.sampling.sampler_settings import SamplerSettings, Sampling
from llterm.core.weave_settings import WeaveSettings
from llterm.store.values import Damage, id_of, json_of, text, whole


def rules_text(rules: WeaveSettings) -> str:
    """The settings as JSON."""
    return json_text(asdict(rules), bytes_kept=True)


def read_rules(json: str) -> WeaveSettings:
    """Settings from a loom; those that this version does not know are passed over."""
    given = _object(json_of(json))
    try:
        return WeaveSettings(**{
            row.attribute: row.check(given[row.attribute])
            for row in WEAVE if row.attribute in given
        })  # type: ignore[arg-type]  # fmt: skip
    except ValueError as error:
        raise Damage(f"the weave settings make no sense: {error}") from error


def changed(before: str, after: str) -> set[str]:
    """The names of the settings that differ between two JSON texts.

    A preset's name does not count: it only says what the others are.
    """
    first, second = _object(json_of(before)), _object(json_of(after))
    names = {*first, *second} - {"preset"}
    return {name for name in names if first.get(name) != second.get(name)}


def sampling_text(sampling: Sampling) -> str:
    """Sampler settings as JSON: one flat object, so that two of them can be compared by name."""
    found = asdict(sampling)
    return json_text({**found.pop("settings"), **found}, bytes_kept=True)


def read_sampling(json: str) -> Sampling | None:
    """Sampler settings from a loom; None where it holds none."""
    given = _object(json_of(json))
    if not given:
        return None
    try:
        for row in PRESET:
            if row.attribute in given:
                row.check(given[row.attribute])
        bans = Bans(**_known(Bans, _object(given.get("bans", {}))))
        settings = SamplerSettings(**_known(SamplerSettings, given))
        rest = _known(Sampling, given, without={"settings", "bans"})
        return Sampling(**{"preset": None, **rest, "settings": settings, "bans": bans})
    except ValueError as error:
        raise Damage(f"the sampler settings make no sense: {error}") from error


def check_chat(json: str) -> None:
    """Raise Damage where a text is no chat."""
    try:
        chat_from(json_of(json) if json else {})
    except ValueError as error:
        raise Damage(f"the chat makes no sense: {error}") from error


def check_constraint(json: str) -> None:
    """Raise Damage where a text is no constraint."""
    try:
        read_constraint(json)
    except ValueError as error:
        raise Damage(f"the constraint makes no sense: {error}") from error


def _text_of(read: Callable[[str], object]) -> Callable[[object], str]:
    """A reader of a text that this one must be able to read."""

    def checked(value: object) -> str:
        read(text(value))
        return text(value)

    return checked


KEPT: Mapping[str, Callable[[object], Value]] = {
    "head": id_of, "hoisted": id_of, "cursor": whole, "next_node": id_of, "revision": whole,
    "rules": _text_of(read_rules), "sampling": _text_of(read_sampling),
    "chat": _text_of(check_chat), "constraint": _text_of(check_constraint),
    "prefix": text, "model": text,
}  # fmt: skip
"""Every name, with what reads its value."""


def read_setting(name: object, value: object) -> Value:
    """The value kept under a name; under one that this version does not know, a number or text."""
    reader = KEPT.get(text(name))
    try:
        if reader is not None:
            return reader(value)
        return value if isinstance(value, str) else whole(value, -(1 << 62), 1 << 62)
    except Damage as damage:
        raise Damage(f"{text(name)[:20]}: {damage}") from damage


def _known(kind: type, given: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
    """Of these values those that are fields of a dataclass, each of the field's type."""
    hints = get_type_hints(kind)
    names = {one.name for one in fields(kind)}.difference(without)
    return {name: _fitting(name, given[name], hints[name]) for name in sorted(names & set(given))}


def _fitting(name: str, value: Any, hint: Any) -> Any:
    """A value of JSON as a field has it: lists are tuples. Raises Damage where its type differs."""
    members = get_args(hint)
    if isinstance(hint, UnionType):
        if value is None and NoneType in members:
            return None
        return _fitting(name, value, next(member for member in members if member is not NoneType))
    if get_origin(hint) is tuple:
        if isinstance(value, list):
            if members[1:] == (...,):
                return tuple(_fitting(name, member, members[0]) for member in value)
            if len(value) == len(members):
                return tuple(_fitting(name, *two) for two in zip(value, members, strict=True))
    elif type(value) is hint or (hint is float and type(value) is int):
        return value
    raise Damage(f"{name} is {str(value)[:20]}")


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise Damage("settings are no object")
    return value
