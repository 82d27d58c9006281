"""What a file of any format may do to its reader, and what must hold of everything that is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

from llterm.core.loom_tree import Marks
from llterm.core.outline_map import Listing
from llterm.core.tree_outline import Outline, children
from llterm.errors import LltermError
from llterm.faults import OwnFault
from llterm.formats.exports import ExportOptions
from llterm.formats.file_formats import EXPORTS, IMPORTS
from llterm.formats.imports import import_file
from llterm.session.document import Document
from llterm.ui.loom.loom_rows import facts_of
from tests.helpers import foreign_files
from tests.helpers.exports import export
from tests.helpers.strict_json import strictly

FEW = ("[" * 1200 + "]" * 1200, "NaN", "1e300", "-" + "9" * 6000, "800", '"\\ud83d"')
"""As they stand in a file: what no number or text of a story is, or hardly one."""
VALUES = (
    *FEW, "9" * 400, "-1", "Infinity", "-Infinity", "-1e300", "1e999", "1e-320", "9" * 19, "0",
    "0.5", '"\\ude00\\u0000\\u001b[31m"', '"NaN"', '"' + "9" * 6000 + '"', "null", "true", "[]",
    "{}", "[" * 40 + "]" * 40,
)  # fmt: skip
_BINARY = ("png",)
"""Takes half a second a picture, and is drawn of the SVG."""


@cache
def sample(format: str) -> str:
    """A file of a format as JSON, or for texts as it is. Fails for a format that has none."""
    if format == "json":
        with TemporaryDirectory() as folder:
            path = Path(folder, "a.loom")
            import_file(json.dumps(foreign_files.BONSAI).encode(), "a", None, path)
            document = Document.open(path)
            document.edit(0, 1, "Tw")
            document.branches.note(document.loom.head, "a note")
            document.undo()
            document.close()
            found = json.loads(export(path, format, ExportOptions()))
            return json.dumps({**found, "extras": {"1": {"pyloom": {"tags": {"a": 1.5}}}}})
    if format == "text":
        return json.dumps("Once upon a time\n")
    return json.dumps(plain(foreign_files.ALL[format]))


def plain(value: Any) -> Any:
    """Less JSON texts inside of JSON, which are taken out of their quotes."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        return plain(json.loads(value))
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def leaves(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The ways to every value that holds no others."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for step, one in inner:
        if isinstance(one, dict | list) and one:
            yield from leaves(one, (*way, step))
        else:
            yield (*way, step)


def put(value: Any, way: tuple[Any, ...], new: Any) -> Any:
    """Put another value in a place; what stood there."""
    for step in way[:-1]:
        value = value[step]
    before, value[way[-1]] = value[way[-1]], new
    return before


def hole(value: str) -> str:
    """What stands in a shape for one of `VALUES`, which Python could not write."""
    return f"\x01{VALUES.index(value)}\x01"


def filled(shape: Any) -> bytes:
    """The file, with the values where their holes are."""
    text = json.dumps(shape)
    for value in VALUES:
        text = text.replace(json.dumps(hole(value)), value)
    return text.encode()


def holds(path: Path, *, pictures: bool = False) -> None:
    """A loom that was imported opens, is drawn, and is exported to every format."""
    document = Document.open(path)
    try:
        loom = document.loom
        listing = Listing(loom)
        assert listing.map.width >= 0
        for row in (*listing.rows, *Outline(loom).rows(whole=True)):
            facts = facts_of(loom, row)
            for p in (facts.p, *facts.shades):
                assert p is None or 0 <= p <= 1
        for id in loom.nodes:
            loom.mark(id, replace(loom.marks.get(id, Marks()), order="probability"))
            children(loom, id)
    finally:
        document.close()
    for format in EXPORTS:
        if format in _BINARY and not pictures:
            continue
        exported(format, export(path, format, ExportOptions(every=True, merge=1)))


def exported(format: str, data: bytes) -> None:
    """What was written is what its format says it is."""
    if format in IMPORTS and format != "text":
        strictly(data.decode())
    elif format == "jsonl":
        for line in data.decode().splitlines():
            strictly(line)
    elif format == "svg":
        ElementTree.fromstring(data)


def tried(data: bytes, format: str | None, folder: Path) -> Path | None:
    """The loom that an import made; None where it was refused, and nothing is left then."""
    path = folder / "made.loom"
    try:
        import_file(data, "given.json", format, path)
    except OwnFault:
        raise
    except LltermError:
        return None
    return path
