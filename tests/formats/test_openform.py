"""The open form with values in it that cannot be: refused with the place, or a sound loom."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from llterm.errors import UsageError
from llterm.formats.exchange import Taste, import_file
from llterm.headless.loomcheck import check_loom
from tests.formats.exporting import export
from tests.store.hostile import made, opened

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
    found: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for path in places(document):
        alike = tuple("*" if isinstance(key, int) or key.isdecimal() else key for key in path)
        found.setdefault(alike, path)
    return [*found.values()]


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


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = made(tmp_path_factory.mktemp("sound") / "a.loom")
    return json.loads(export(path, "json", Taste(every=True)))


def test_no_value_makes_a_loom_that_does_not_open(document: Any, tmp_path: Path) -> None:
    """Two values at each place, another two each time; the soak tries all."""
    assert not tried(document, tmp_path / "a.loom")
    turn = count()
    for path in kinds(document):
        for _ in range(2):
            value = VALUES[next(turn) % len(VALUES)]
            try:
                tried(changed(document, path, value), tmp_path / "a.loom")
            except Exception as error:
                raise AssertionError(f"{path}: {str(value)[:20]}") from error


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        (("settings", "rules"), "[" * 100, "settings.rules: rules"),
        (("settings", "sampling"), '{"top_k": "many"}', "settings.sampling: sampling"),
        (("settings", "cursor"), -3, "settings.cursor: cursor"),
        (("settings", "chat"), "[]", "settings.chat: chat"),
        (("head",), 2**63, "head is"),
        (("nodes", 0, "id"), 2**63, "nodes[0].id is"),
        (("pieces", 0, "id"), 2**40, "pieces[0].id is"),
        (("history", 0, "rows", "facts"), {"rules": ["{}", "["]}, "history[0].rows: rules"),
        (("history", 0, "rows", "nodes"), [[3, 4]], "history[0].rows: a step"),
    ],
)
def test_what_makes_no_sense_is_told_with_its_place(
    document: Any, tmp_path: Path, path: tuple[Any, ...], value: Any, place: str
) -> None:
    cause = tried(changed(document, path, value), tmp_path / "a.loom")
    assert re.match(re.escape(place), cause), cause
