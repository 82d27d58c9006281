"""The open form with one value changed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llterm.cli.doctor_loom import check_loom
from llterm.errors import UsageError
from llterm.formats.imports import import_file
from tests.helpers.hostile_looms import opened

VALUES: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, 2**63, 0.5, float("inf"), float("nan"),
    "", "nan", "\ud800", [], {}, [[]], "[" * 100_000, json.loads("[" * 200 + "]" * 200),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(one, (*path, key))


def kinds(document: Any) -> list[tuple[Any, ...]]:
    """One place of each kind: those that differ only by numbers in lists are alike."""
    names: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for path in places(document):
        alike = tuple("*" if isinstance(key, int) or key.isdecimal() else key for key in path)
        names.setdefault(alike, path)
    return [*names.values()]


def changed(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    other = copy.deepcopy(document)
    at = other
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return other


def tried(document: Any, target: Path) -> str:
    """Import it; what was told where that was refused."""
    data = json.dumps(document).encode()
    try:
        import_file(data, "given.json", "json", target)
    except UsageError as error:
        assert not target.exists()
        return error.cause
    assert not opened(target)
    assert check_loom(target)[1] == 0
    target.unlink()
    return ""
