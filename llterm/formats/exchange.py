"""Every format by its name: what can be imported, what can be exported, and which a file is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llterm.core.counts import count_of
from llterm.errors import UsageError
from llterm.faults import own_faults
from llterm.formats import (
    basemode,
    beamwriter,
    bonsai,
    dot,
    exoloom,
    logitloom,
    loomsidian,
    mikupad,
    miniloom,
    openform,
    page,
    pairs,
    picture,
    pyloom,
    raster,
    text,
)
from llterm.formats.reading import Place, parse, wrong
from llterm.formats.source import Source
from llterm.formats.tree import grown
from llterm.formats.unknown import LeftOut
from llterm.store.contents import Changes
from llterm.store.fresh import fresh_loom
from llterm.store.rows import check_changes
from llterm.textfile import MARK

TEXT = "text"
_MODULES = (
    logitloom, exoloom, miniloom, loomsidian, basemode, bonsai, mikupad, pyloom, beamwriter,
)  # fmt: skip
"""In the order in which a file is tried: the surest marks first."""
_READERS: dict[str, Any] = {module.NAME: module for module in _MODULES}
"""Modules with `matches`, `read`, and `MARKS`: what a file of the format has, in words."""
IMPORTS = (openform.NAME, *_READERS, TEXT)


@dataclass(frozen=True, slots=True)
class Taste:
    """What an export is to hold."""

    every: bool = False
    """Every branch, where a format can hold the story alone."""
    merge: int = 0
    """Levels in which equal texts are one node of a graph; 0 merges nothing."""


_WRITERS: dict[str, tuple[str, Callable[[Source, Taste], str | bytes]]] = {
    TEXT: (".txt", lambda source, taste: text.write_text(source, every=taste.every)),
    "markdown": (".md", lambda source, taste: text.write_markdown(source, every=taste.every)),
    "html": (".html", lambda source, taste: page.write(source, every=taste.every)),
    "dot": (".dot", lambda source, taste: dot.write(source, merge=taste.merge)),
    "svg": (".svg", lambda source, _: picture.write(source)),
    "png": (".png", lambda source, _: raster.write(source)),
    "jsonl": (".jsonl", lambda source, _: pairs.write(source)),
    logitloom.NAME: (".ll.json", lambda source, _: logitloom.write(source)),
    pyloom.NAME: (".pyloom.json", lambda source, _: pyloom.write(source)),
    loomsidian.NAME: (".loomsidian.json", lambda source, _: loomsidian.write(source)),
}
EXPORTS = (*_WRITERS, openform.NAME)
_SUFFIXES = {
    ".json": openform.NAME, ".md": "markdown", ".markdown": "markdown", ".htm": "html",
    **{suffix: name for name, (suffix, _) in _WRITERS.items()},
}  # fmt: skip


def holds_history(format: str) -> bool:
    """Whether the steps that can be undone go into an export."""
    return format == openform.NAME


@own_faults("a loom was exported")
def exported(source: Source, format: str, taste: Taste) -> bytes:
    """A loom in memory in another format. Raises LltermError where it cannot be drawn."""
    if format == openform.NAME:
        return openform.write(source).encode()
    written = _WRITERS[format][1](source, taste)
    return written if isinstance(written, bytes) else written.encode("utf-8", "replace")


def caveat(source: Source, format: str) -> str:
    """What this export lacks because of this machine; empty where nothing. Raises as `exported`."""
    count = raster.unwritten(source) if format == "png" else 0
    if not count:
        return ""
    characters = count_of(count, "character")
    return (
        f"No font of this machine has {characters} of this loom: boxes stand for them."
        " Export svg, which browsers show with their fonts, or install such a font."
    )


def format_of(path: Path) -> str | None:
    """The export that a file's name asks for; None where it says nothing."""
    name = path.name.lower()
    longest = max((one for one in _SUFFIXES if name.endswith(one)), key=len, default=None)
    return _SUFFIXES[longest] if longest is not None else None


def suffix_of(format: str) -> str:
    """How the files of an export end."""
    return ".json" if format == openform.NAME else _WRITERS[format][0]


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
    changes, found, notes = read(data, name, format)
    try:
        check_changes(changes)
    except ValueError as error:
        raise wrong(f"It would make no loom that opens: {error}.") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    with fresh_loom(target) as file:
        file.commit(changes)
    return Imported(found, len(changes.nodes), tuple(notes))


def read(data: bytes, name: str, format: str | None) -> tuple[Changes, str, list[str]]:
    """The rows of a new loom, the file's format, and what to tell of it. Raises UsageError."""
    if format == TEXT or (format is None and not _is_json(data)):
        tree = text.read_text(data)
        return grown(tree), TEXT, tree.notes
    place = parse(data)
    format = format or _detect(place)
    if format is None:
        raise UsageError(
            f"{name} is in no format that can be imported",
            f"It is JSON, but of none of these: {', '.join(IMPORTS)}.",
            "To import it as plain text, add --from text.",
        )
    if format == openform.NAME:
        left = LeftOut()
        return openform.read(place, left), format, left.notes()
    module = _READERS[format]
    if not module.matches(place.value):
        raise _another(format, module.MARKS, _detect(place))
    tree = module.read(place)
    return grown(tree), format, tree.notes


def _is_json(data: bytes) -> bool:
    return data.removeprefix(MARK).lstrip()[:1] in (b"{", b"[")


def _detect(place: Place) -> str | None:
    if openform.matches(place.value):
        return openform.NAME
    return next((name for name, one in _READERS.items() if one.matches(place.value)), None)


def _another(format: str, marks: str, found: str | None) -> UsageError:
    """The error of a file that is not in the format it is said to be in."""
    return wrong(
        f"A file of {format} has {marks}; this one has not.",
        f"It looks like one of {found}: --from {found}." if found else "",
    )
