"""The open form with values in it that cannot be: refused with the place, or a sound loom."""

from __future__ import annotations

import json
import re
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from llterm.formats.exports import ExportOptions
from tests.helpers.exports import export
from tests.helpers.hostile_looms import made
from tests.helpers.open_forms import VALUES, changed, kinds, tried


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = made(tmp_path_factory.mktemp("sound") / "a.loom")
    return json.loads(export(path, "json", ExportOptions(every=True)))


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
