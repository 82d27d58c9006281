"""The formats that looms are exported to and imported from: one row each.

From these rows the flags, the export dialog and the table in docs/formats.md are made. Light to
import: what writes and reads a format is known to `exports` and `imports`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format by its name, as flags take it."""

    name: str
    label: str
    """What a file of it is, in a few words."""
    suffixes: tuple[str, ...] = ()
    """How the names of its exports end, the usual way first; empty where it is only read."""
    tried: int = 0
    """When a file of an unknown format is tried as this one, from 1 on, the surest marks first;
    0 where it is only written."""
    story: bool = False
    """An export can hold the story alone, or every branch; others hold the whole loom."""


FORMATS = (
    FileFormat("text", "the story as text", (".txt",), 11, story=True),
    FileFormat("markdown", "the story as Markdown", (".md", ".markdown"), story=True),
    FileFormat("html", "a page with every fork", (".html", ".htm"), story=True),
    FileFormat("dot", "a graph for Graphviz", (".dot",)),
    FileFormat("svg", "a picture", (".svg",)),
    FileFormat("png", "a picture of pixels", (".png",)),
    FileFormat("jsonl", "taken against rejected", (".jsonl",)),
    FileFormat("logitloom", "for logitloom", (".ll.json",), 2),
    FileFormat("pyloom", "for pyloom", (".pyloom.json",), 9),
    FileFormat("loomsidian", "for Obsidian's loomsidian", (".loomsidian.json",), 5),
    FileFormat("json", "all that a loom holds", (".json",), 1),
    FileFormat("exoloom", "of exoloom", tried=3),
    FileFormat("miniloom", "of MiniLoom", tried=4),
    FileFormat("basemode-loom", "of basemode-loom", tried=6),
    FileFormat("bonsai", "of bonsai", tried=7),
    FileFormat("mikupad", "of mikupad", tried=8),
    FileFormat("beamwriter", "of LLooM's beamwriter", tried=10),
)
EXPORTS = tuple(row.name for row in FORMATS if row.suffixes)
IMPORTS = tuple(row.name for row in sorted(FORMATS, key=lambda row: row.tried) if row.tried)
"""In the order in which a file is tried; what is no JSON is text."""
_BY_NAME = {row.name: row for row in FORMATS}
_BY_SUFFIX = {suffix: row.name for row in FORMATS for suffix in row.suffixes}


def file_format(name: str) -> FileFormat:
    """The format of this name. Raises KeyError."""
    return _BY_NAME[name]


def format_of(path: Path) -> str | None:
    """The export that a file's name asks for; None where it says nothing."""
    name = path.name.lower()
    longest = max((suffix for suffix in _BY_SUFFIX if name.endswith(suffix)), key=len, default=None)
    return _BY_SUFFIX[longest] if longest is not None else None
