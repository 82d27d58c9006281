"""The formats are named in one list: what writes and reads them, the flags, the dialog and the
docs agree with it."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from llterm.cli import app
from llterm.formats import loom_json, plain_text
from llterm.formats.exports import WRITERS
from llterm.formats.file_formats import EXPORTS, FORMATS, IMPORTS, format_of
from llterm.formats.imports import READERS
from llterm.ui.dialogs.export_dialog import COPY, ExportDialog


def test_every_format_of_the_list_has_what_writes_and_reads_it() -> None:
    assert set(WRITERS) == set(EXPORTS)
    assert {*READERS, loom_json.NAME, plain_text.NAME} == set(IMPORTS)


def test_the_flags_take_the_formats_of_the_list() -> None:
    assert get_args(app.ExportFormat) == EXPORTS
    assert get_args(app.ImportFormat) == IMPORTS


def test_the_dialog_offers_the_formats_of_the_list() -> None:
    assert ExportDialog(Path("some.loom")).formats == (*EXPORTS, COPY)


def test_a_name_asks_for_the_format_whose_longest_suffix_it_has() -> None:
    for row in FORMATS:
        assert all(format_of(Path(f"Some{suffix.upper()}")) == row.name for suffix in row.suffixes)
    assert format_of(Path("some.loom")) is None


def test_the_docs_say_of_each_format_what_is_in_it() -> None:
    page = (Path(__file__).parents[2] / "docs/formats.md").read_text("utf-8")
    outward, inward = page.split("## In\n")
    for names, part in ((EXPORTS, outward), (IMPORTS, inward)):
        assert all(f"| `{name}` |" in part for name in names)
