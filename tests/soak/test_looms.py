"""Looms that lie, in every column, and damaged by chance: told, repaired, and no end to nothing."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from llterm.formats.exports import ExportOptions
from tests.helpers import open_forms
from tests.helpers.exports import export
from tests.helpers.hostile_looms import change, lies, made, tried
from tests.helpers.soak_rounds import rounds

pytestmark = pytest.mark.soak


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLTERM_DATA_DIR", str(tmp_path / "data"))


@pytest.mark.parametrize("part", range(8))
def test_every_lie_is_told(tmp_path: Path, part: int) -> None:
    sound, path = made(tmp_path / "sound.loom"), tmp_path / "a.loom"
    for name, statements in [*lies()][part::8]:
        shutil.copy(sound, path)
        try:
            change(path, *statements)
        except sqlite3.Error:
            continue  # SQLite refuses it itself.
        try:
            tried(path)
        except Exception as error:
            raise AssertionError(name) from error


@pytest.mark.parametrize("seed", range(4))
def test_damage_by_chance_is_told(tmp_path: Path, seed: int) -> None:
    """Bytes flipped, ends cut off, pages swapped, one loom's pages in another."""
    sound, path = made(tmp_path / "sound.loom"), tmp_path / "a.loom"
    whole, other = sound.read_bytes(), made(tmp_path / "other.loom", more=3).read_bytes()
    with closing(sqlite3.connect(sound)) as database:
        (size,) = database.execute("pragma page_size").fetchone()
    dice = random.Random(seed)
    for turn in range(rounds(60)):
        data = bytearray(whole)
        pages = len(data) // size
        first, two = dice.randrange(1, pages) * size, dice.randrange(1, pages) * size
        if turn % 5 == 0:
            del data[dice.randrange(len(data)) :]
        elif turn % 5 == 1:
            data[first : first + size], data[two : two + size] = (
                data[two : two + size], data[first : first + size]
            )  # fmt: skip
        elif turn % 5 == 2:
            data[first : first + size] = other[first : first + size]
        for _ in range(dice.randrange(1, 4) if turn % 5 > 2 else 0):
            data[dice.randrange(len(data))] = dice.randrange(256)
        path.write_bytes(data)
        try:
            tried(path)
        except Exception as error:
            kept = tmp_path / f"turn {turn}.loom"
            kept.write_bytes(data)
            raise AssertionError(f"the loom is {kept}") from error


def test_no_value_of_an_import_makes_a_loom_that_does_not_open(tmp_path: Path) -> None:
    path = made(tmp_path / "sound.loom")
    document = json.loads(export(path, "json", ExportOptions(every=True)))
    dice = random.Random(5)
    for place in open_forms.kinds(document):
        for value in dice.sample(open_forms.VALUES, min(rounds(4), len(open_forms.VALUES))):
            open_forms.tried(open_forms.changed(document, place, value), tmp_path / "a.loom")
