"""Every place of a typed body where a client may put something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import inspect


@dataclass(frozen=True, slots=True)
class BodyPlace:
    """One place, and one kind of value that it takes."""

    path: str
    kind: inspect.Type
    body: Callable[[Any], Any]
    """The smallest body with this value there."""

    def __str__(self) -> str:
        return f"{self.path}:{type(self.kind).__name__}"


def places(body: type[msgspec.Struct]) -> Iterator[BodyPlace]:
    """All of a body; lists and objects are places as well as what they hold."""
    return _places(inspect.type_info(body), "", lambda value: value)


def _places(kind: inspect.Type, path: str, body: Callable[[Any], Any]) -> Iterator[BodyPlace]:
    match kind:
        case inspect.Metadata(type=inner):
            yield from _places(inner, path, body)
        case inspect.UnionType(types=kinds):
            for each in kinds:
                yield from _places(each, path, body)
        case inspect.StructType(fields=fields):
            for field in fields:
                under = f"{path}.{field.encode_name}".lstrip(".")
                yield from _places(field.type, under, _in_struct(kind, field.encode_name, body))
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            yield BodyPlace(path, kind, body)
            size = max(kind.min_length or 0, 1)
            yield from _places(item, f"{path}[]", lambda value: body([value] * size))
        case inspect.DictType(key_type=key, value_type=value_kind):
            yield BodyPlace(path, kind, body)
            sample = _sample(value_kind)
            yield from _places(key, f"{path}{{key}}", lambda value: body({value: sample}))
            yield from _places(value_kind, f"{path}{{}}", lambda value: body({"0": value}))
        case _:
            yield BodyPlace(path, kind, body)


def _in_struct(
    struct: inspect.StructType, name: str, body: Callable[[Any], Any]
) -> Callable[[Any], Any]:
    needed = _needed(struct)
    return lambda value: body({**needed, name: value})


def _needed(struct: inspect.StructType) -> dict[str, Any]:
    return {field.encode_name: _sample(field.type) for field in struct.fields if field.required}


def _sample(kind: inspect.Type) -> Any:
    """The least that a place takes."""
    match kind:
        case inspect.Metadata(type=inner):
            return _sample(inner)
        case inspect.UnionType(types=kinds):
            return _sample(kinds[0])
        case inspect.StructType():
            return _needed(kind)
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return [_sample(item)] * (kind.min_length or 0)
        case inspect.DictType():
            return {}
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.StrType():
            return "a"
        case inspect.IntType():
            return kind.ge or 0
        case inspect.FloatType():
            return kind.ge or 0.0
        case inspect.BoolType():
            return False
    return None
