"""Writes trees as nested JSON, however deep they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

One = TypeVar("One")


def nested(
    roots: Iterable[One],
    fields: Callable[[One], dict[str, Any]],
    below: Callable[[One], Iterable[One]],
) -> Iterator[str]:
    """A list of objects, each with its children as a list under `children`, in parts of JSON."""
    yield "["
    stack: list[Iterator[One]] = [iter(roots)]
    first = True
    while stack:
        one = next(stack[-1], None)
        if one is None:
            stack.pop()
            yield "]}" if stack else "]"
            first = False
            continue
        if not first:
            yield ","
        head = json.dumps(fields(one))[:-1]
        yield head + (", " if len(head) > 1 else "") + '"children": ['
        stack.append(iter(below(one)))
        first = True


def with_member(document: dict[str, Any], name: str, member: str) -> str:
    """An object with one more member, which is JSON already."""
    rest = json.dumps(document, indent=2)
    comma = ",\n  " if document else "\n  "
    return rest.rstrip("}").rstrip() + f"{comma}{json.dumps(name)}: {member}\n}}\n"
