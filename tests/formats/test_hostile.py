"""Whatever stands in a file, an import makes a loom that works or tells what is wrong, where.

Every reader and every writer takes part: the registry is walked.
"""

from __future__ import annotations

import json
import sqlite3
from array import array
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from llterm.errors import LltermError, UsageError
from llterm.faults import OwnFault
from llterm.formats import imports
from llterm.formats.exports import ExportOptions
from llterm.formats.file_formats import EXPORTS, IMPORTS
from llterm.formats.imports import import_file
from tests.helpers.document_edits import model_run
from tests.helpers.exports import export
from tests.helpers.foreign_files import BONSAI, LOGITLOOM, LOOMSIDIAN, PYLOOM, PYLOOM_SIMPLE
from tests.helpers.hostile_imports import FEW, filled, holds, hole, leaves, put, sample
from tests.helpers.imported_loom import Loomed


@pytest.mark.parametrize("format", IMPORTS)
def test_any_value_in_any_place_is_refused_or_harmless(format: str, tmp_path: Path) -> None:
    """One loom holds the last value that its reader takes in every place."""
    shape = {"file": json.loads(sample(format))}
    for way in list(leaves(shape)):
        for value in FEW:
            before = put(shape, way, hole(value))
            try:
                imports.read(filled(shape["file"]), "given", format)
            except UsageError:
                put(shape, way, before)
    path = tmp_path / "made.loom"
    try:
        import_file(filled(shape["file"]), "given", format, path)
    except UsageError:
        # Each value may stand alone, and all of them together make no loom.
        assert not path.exists()
    else:
        holds(path)


@pytest.mark.parametrize(
    ("shape", "path", "value", "cause"),
    [
        (LOGITLOOM, ("roots", 0, "logprob"), "NaN", "roots[0].logprob is NaN, not a number"),
        (LOGITLOOM, ("roots", 0, "logprob"), "800", "roots[0].logprob is 800, not the log"),
        (LOGITLOOM, ("roots", 0, "logprob"), "9" * 400,
         "roots[0].logprob is a number of 400 digits, not a number"),
        (BONSAI, ("nodes", 0, "createdAt"), "1e300",
         "nodes[0].createdAt is 1e+300, not a time that calendars have"),
        (LOOMSIDIAN, ("nodes", "2c1f6a52-0000-4000-8000-000000000001", "lastVisited"),
         "-Infinity", "lastVisited is -Infinity, not a number"),
        (PYLOOM, ("root", "children", 0, "children", 0, "generation", "index"), "1e300",
         "generation.index is 1e+300, not a whole number from 0 to"),
        (BONSAI, ("nodes", 1, "rating"), "9" * 6000,
         "nodes[1].rating is a number of 6,000 digits, not a number"),
        (BONSAI, ("nodes", 1, "id"), "[" * 3000 + "]" * 3000, "nodes[1].id is a list"),
    ],
)  # fmt: skip
def test_a_number_that_is_none_is_told_with_its_place(
    tmp_path: Path, shape: Any, path: tuple[Any, ...], value: str, cause: str
) -> None:
    shape = json.loads(json.dumps(shape))
    put(shape, path, "hole")
    data = json.dumps(shape).replace('"hole"', value).encode()
    with pytest.raises(UsageError) as caught:
        Loomed(data, tmp_path)
    assert cause in caught.value.cause
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("half", ["\\ud83d", "\\ude00", "\\ud83dx\\ude00", "\\\\\\ud83d"])
def test_half_a_character_is_a_broken_one(tmp_path: Path, half: str) -> None:
    data = f'{{"story": ["😀 \\ud83d\\ude00 {half}"], "user_input": "{half}"}}'.encode()
    made = Loomed(data, tmp_path)
    meant = {"\\ud83dx\\ude00": "�x�", "\\\\\\ud83d": "\\�"}.get(half, "�")
    assert made.document.text == f"😀 😀 {meant}"
    assert made.document.prefix == meant


def test_unknown_fields_that_no_loom_can_hold_are_left_out_and_told(tmp_path: Path) -> None:
    odd = f"[NaN, {'[' * 99 + ']' * 99}, 7]"
    shape = json.dumps({**PYLOOM, "memories": "hole"})
    made = Loomed(shape.replace('"hole"', odd).encode(), tmp_path)
    assert "values that no loom can hold were left out: 2." in " ".join(made.told.notes)
    found = json.loads(export(tmp_path / "made.loom", "pyloom", ExportOptions()))
    assert found["memories"][0] is None
    assert found["memories"][2] == 7


@pytest.mark.parametrize("logprob", [float("nan"), float("inf"), float("-inf"), 800.0, -1e300])
def test_a_loom_of_an_earlier_import_is_drawn_and_exported(tmp_path: Path, logprob: float) -> None:
    """Its rows hold what no reader takes any more."""
    made = Loomed(LOGITLOOM, tmp_path)
    made.document.accept(model_run(b" on"), len(made.document.text))
    made.document.close()
    path = tmp_path / "made.loom"
    with closing(sqlite3.connect(path)) as database:
        for id, blob, birth in database.execute("select id, logprobs, birth from piece").fetchall():
            size = len(blob) // 8
            odd = array("d", [logprob] * size).tobytes()
            told = birth.replace("-0.5", json.dumps(logprob))
            database.execute(
                "update piece set logprobs = ?, created = 1e300, birth = ? where id = ?",
                (odd, told, id),
            )
        database.execute("update extra set fields = replace(fields, 'null', 'NaN')")
        database.commit()
    holds(path)


@pytest.mark.parametrize("format", EXPORTS)
def test_a_fault_of_ours_is_told_and_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    """Never silence, never a traceback: the error says what it was, and where the rest is."""
    Loomed(PYLOOM_SIMPLE, tmp_path).document.close()

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr("llterm.store.file.LoomFile.load", broken)
    with pytest.raises(OwnFault) as caught:
        export(tmp_path / "made.loom", format, ExportOptions())
    assert "ZeroDivisionError: a fault" in caught.value.cause
    assert "log" in caught.value.hint


def test_a_reader_that_fails_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "grown", lambda tree: 1 // 0)
    with pytest.raises(LltermError) as caught:
        Loomed(PYLOOM_SIMPLE, tmp_path)
    assert "While a file was imported: ZeroDivisionError" in caught.value.cause
    assert list(tmp_path.iterdir()) == []


def test_the_mark_of_utf_8_is_no_part_of_a_text(tmp_path: Path) -> None:
    assert Loomed(b"\xef\xbb\xbfOnce", tmp_path).document.text == "Once"
