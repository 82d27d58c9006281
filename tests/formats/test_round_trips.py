"""Out and in again: what a format can hold comes back, also what a loom has no place for."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings

from llterm.formats.exports import ExportOptions
from llterm.formats.imports import import_file
from llterm.session.document import Document
from tests.helpers import foreign_files
from tests.helpers.document_edits import model_run
from tests.helpers.exports import export
from tests.helpers.imported_loom import Loomed
from tests.helpers.json_schema import faults
from tests.helpers.tree_commands import OPERATIONS, grown, perform

SCHEMA = json.loads((Path(__file__).parents[2] / "docs/schema/loom.json").read_text())


def again(path: Path, format: str) -> Any:
    return json.loads(export(path, format, ExportOptions()))


def came_back(shape: Any, format: str, folder: Path) -> Any:
    """A file that was imported, and exported in the same format."""
    Loomed(shape, folder).document.close()
    return again(folder / "made.loom", format)


def rows(path: Path) -> dict[str, list[Any]]:
    """Everything in a loom's file; births and steps as what they mean."""
    with closing(sqlite3.connect(path)) as database:
        tables = {
            name: database.execute(f"select * from {name} order by 1").fetchall()
            for name in ("piece", "node", "mark", "step", "meta", "extra")
        }
        tables["sight"] = database.execute(
            "select * from sight where folded or unread order by 1"
        ).fetchall()
    tables["piece"] = [(*row[:-1], json.loads(row[-1] or "{}")) for row in tables["piece"]]
    tables["step"] = [(*row[:-1], json.loads(row[-1])) for row in tables["step"]]
    tables["meta"] = [row for row in tables["meta"] if row[0] != "hoisted" or row[1] != 1]
    return tables


@settings(max_examples=60)
@given(operations=OPERATIONS)
def test_the_open_form_is_the_same_loom(operations: list[Any]) -> None:
    """Tree, texts, tokens, births, marks, and the history with all that can be undone."""
    with TemporaryDirectory() as folder:
        original, other = Path(folder, "one.loom"), Path(folder, "other.loom")
        document = grown()
        for operation in operations:
            perform(document, operation)
        document.copy_to(original)
        data = export(original, "json", ExportOptions())
        import_file(data, "one.json", None, other)
        assert rows(other) == rows(original)
        assert export(other, "json", ExportOptions()) == data
        assert faults(json.loads(data), SCHEMA, SCHEMA) == []


def test_a_loom_from_the_open_form_can_be_undone(tmp_path: Path) -> None:
    document = grown()
    text = document.text
    document.copy_to(tmp_path / "one.loom")
    import_file(
        export(tmp_path / "one.loom", "json", ExportOptions()), "x", None, tmp_path / "two.loom"
    )
    two = Document.open(tmp_path / "two.loom")
    assert two.text == text
    while two.undo() is not None:
        pass
    assert two.text == "Once upon a time, é 日本 👩‍🚀.␍\n"
    two.close()


def test_loomsidian_comes_back_as_it_was(tmp_path: Path) -> None:
    assert came_back(foreign_files.LOOMSIDIAN, "loomsidian", tmp_path) == foreign_files.LOOMSIDIAN


def test_pyloom_comes_back_as_it_was(tmp_path: Path) -> None:
    exported = came_back(foreign_files.PYLOOM, "pyloom", tmp_path)
    expected = json.loads(json.dumps(foreign_files.PYLOOM))
    assert {name: exported[name] for name in exported if name != "root"} == {
        name: expected[name] for name in expected if name != "root"
    }
    _same(exported["root"], expected["root"])


def _same(exported: dict[str, Any], expected: dict[str, Any]) -> None:
    """Every field of the file is there again; fields that it left out may be."""
    assert {name: exported[name] for name in expected if name != "children"} == {
        name: one for name, one in expected.items() if name != "children"
    }
    assert len(exported["children"]) == len(expected["children"])
    for one, other in zip(exported["children"], expected["children"], strict=True):
        _same(one, other)


def test_logitloom_comes_back_as_it_was(tmp_path: Path) -> None:
    assert came_back(foreign_files.LOGITLOOM, "logitloom", tmp_path) == foreign_files.LOGITLOOM


def test_unknown_fields_are_not_mixed_up_between_formats(tmp_path: Path) -> None:
    Loomed(foreign_files.LOOMSIDIAN, tmp_path).document.close()
    assert b"somethingNew" not in export(tmp_path / "made.loom", "pyloom", ExportOptions())


@pytest.mark.parametrize("format", ["logitloom", "pyloom", "loomsidian"])
@settings(max_examples=40)
@given(operations=OPERATIONS)
def test_any_loom_keeps_its_branches_in_other_programs(format: str, operations: list[Any]) -> None:
    """Text by text, each path from the root to a leaf."""
    with TemporaryDirectory() as folder:
        original, other = Path(folder, "one.loom"), Path(folder, "other.loom")
        document = grown()
        for operation in operations:
            perform(document, operation)
        texts = leaves(document)
        document.copy_to(original)
        import_file(export(original, format, ExportOptions()), "x", format, other)
        made = Document.open(other)
        assert leaves(made) == texts
        made.close()


def leaves(document: Document) -> list[str]:
    """What can be read to the end of each branch; broken bytes are `\ufffd`."""
    loom = document.loom
    ends = [id for id in loom.nodes if loom.holds(id) and not loom.children.get(id)]
    return sorted(loom.text(id).decode("utf-8", "replace") for id in ends)


def test_probabilities_go_out_and_in(tmp_path: Path) -> None:
    document = Document.create(tmp_path / "a.loom", b"The")
    run = replace(model_run(b" little", b" fox"), logprobs=(-0.1234567890123, -2.5))
    document.accept(run, 3)
    document.branches.plant(document.loom.path()[0].id, [model_run(b" owl")])
    document.close()
    for format in ("logitloom", "pyloom"):
        folder = tmp_path / format
        folder.mkdir()
        made = Loomed(export(tmp_path / "a.loom", format, ExportOptions()), folder)
        assert made.tokens(" little fox") == [(b" little", -0.1234567890123), (b" fox", -2.5)]
        assert made.author(" owl") == "m"


def test_a_long_story_nests_deeper_than_python_goes(tmp_path: Path) -> None:
    document = Document.scratch(b"Once")
    for _ in range(1500):
        document.accept(model_run(b" on", b" and"), len(document.text))
    text = document.text
    document.copy_to(tmp_path / "a.loom")
    for format in ("logitloom", "pyloom"):
        data = export(tmp_path / "a.loom", format, ExportOptions())
        import_file(data, "x", format, tmp_path / f"{format}.loom")
        made = Document.open(tmp_path / f"{format}.loom")
        assert made.text == text
        made.close()
