"""A file of another program, or a text, made a loom: which format it is in, and what reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llterm.errors import UsageError
from llterm.faults import own_faults
from llterm.formats import (
    basemode,
    beamwriter,
    bonsai,
    exoloom,
    logitloom,
    loom_json,
    loomsidian,
    mikupad,
    miniloom,
    plain_text,
    pyloom,
)
from llterm.formats.file_formats import IMPORTS
from llterm.formats.imported_tree import OmittedFields, grown
from llterm.formats.json_place import JsonPlace, parse, wrong
from llterm.paths import free
from llterm.regular_file import MARK
from llterm.store.file import fresh_loom
from llterm.store.stored_rows import Changes, check_changes

MOST_IMPORTED = 1 << 30
"""Bytes of a file."""
READERS: dict[str, Any] = {
    module.NAME: module
    for module in (
        basemode, beamwriter, bonsai, exoloom, logitloom, loomsidian, mikupad, miniloom, pyloom
    )
}  # fmt: skip
"""Modules with `matches`, `read`, and `MARKS`: what a file of the format has, in words."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import made."""

    format: str
    nodes: int
    notes: tuple[str, ...] = ()


@own_faults("a file was imported")
def import_file(data: bytes, name: str, format: str | None, target: Path) -> Imported:
    """Make a loom of another program's file.

    Raises UsageError where the file is in no known format (or not in the one given) or is broken,
    and where the loom cannot be made; nothing is left behind then.
    """
    changes, detected, notes = read(data, name, format)
    try:
        check_changes(changes)
    except ValueError as error:
        raise wrong(f"It would make no loom that opens: {error}.") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    with fresh_loom(target) as file:
        file.commit(changes)
    return Imported(detected, len(changes.nodes), tuple(notes))


def read(data: bytes, name: str, format: str | None) -> tuple[Changes, str, list[str]]:
    """The rows of a new loom, the file's format, and what to tell of it. Raises UsageError."""
    if format == plain_text.NAME or (format is None and not _is_json(data)):
        tree = plain_text.read_text(data)
        return grown(tree), plain_text.NAME, tree.notes
    place = parse(data)
    format = format or _detect(place)
    if format is None:
        raise UsageError(
            f"{name} is in no format that can be imported",
            f"It is JSON, but of none of these: {', '.join(IMPORTS)}.",
            "To import it as plain text, add --from text.",
        )
    if format == loom_json.NAME:
        left = OmittedFields()
        return loom_json.read(place, left), format, left.notes()
    module = READERS[format]
    if not module.matches(place.value):
        raise _another(format, module.MARKS, _detect(place))
    tree = module.read(place)
    return grown(tree), format, tree.notes


def _is_json(data: bytes) -> bool:
    return data.removeprefix(MARK).lstrip()[:1] in (b"{", b"[")


def _detect(place: JsonPlace) -> str | None:
    if loom_json.matches(place.value):
        return loom_json.NAME
    return next(
        (name for name in IMPORTS if name in READERS and READERS[name].matches(place.value)), None
    )


def _another(format: str, marks: str, detected: str | None) -> UsageError:
    """The error of a file that is not in the format it is said to be in."""
    return wrong(
        f"A file of {format} has {marks}; this one has not.",
        f"It looks like one of {detected}: --from {detected}." if detected else "",
    )


def free_loom(source: Path) -> Path:
    """A loom beside the source, of its name, that is not there yet."""
    name = source.name.removesuffix(".json").removesuffix(".ll")
    stem = Path(name).stem if name == source.name else name
    return free(source.with_name(f"{stem}.loom"))
