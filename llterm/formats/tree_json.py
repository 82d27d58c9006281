"""Writes trees as nested JSON, however deep they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from llterm.core.json_text import json_text

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
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
            yield "]}" if stack else "]"
            first = False
            continue
        if not first:
            yield ","
        head = json_text(_less(fields(node), "children"))[:-1]
        yield head + (", " if len(head) > 1 else "") + '"children": ['
        stack.append(iter(below(node)))
        first = True


def with_member(document: dict[str, Any], name: str, member: str) -> str:
    """An object with one more member, which is JSON already."""
    document = _less(document, name)
    rest = json_text(document, indent=2)
    comma = ",\n  " if document else "\n  "
    return rest.rstrip("}").rstrip() + f"{comma}{json_text(name)}: {member}\n}}\n"


def _less(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """Without what is written beside it: a name twice in an object is no JSON for many."""
    return {one: value for one, value in fields.items() if one != name}
