"""Plain text and Markdown: the story, or every branch as an outline."""

from __future__ import annotations

import re

from llterm.core.display_text import display_text, label_text, visible
from llterm.core.loom_tree import LoomTree
from llterm.core.tree_outline import Outline
from llterm.formats.export_source import ExportSource
from llterm.formats.imported_tree import ImportedNode, ImportedTree, typed
from llterm.regular_file import MARK

NAME = "text"


def read_text(data: bytes) -> ImportedTree:
    """A text file as a story of one node."""
    text = data.removeprefix(MARK).decode("utf-8", "surrogateescape")
    branch = ImportedNode("text", typed(text))
    return ImportedTree(NAME, [branch])


def write_text(source: ExportSource, *, every: bool) -> bytes:
    """The story, byte for byte; or every branch, a row each, indented by the forks above it."""
    if not every:
        return source.loom.text()
    return "".join(f"{indent}{text}\n" for indent, text in _outline(source.loom)).encode()


def write_markdown(source: ExportSource, *, every: bool) -> bytes:
    """The story under its title; then, if asked for, every branch as a list."""
    title = markdown_line(label_text(source.title))
    story = markdown_prose(display_text(source.loom.text().replace(b"\r\n", b"\n")))
    page = f"# {title}\n\n{story}\n"
    if every:
        rows = (f"{indent}- {markdown_line(text)}\n" for indent, text in _outline(source.loom))
        page += "\n## Every branch\n\n" + "".join(rows)
    return page.encode()


def _outline(loom: LoomTree) -> list[tuple[str, str]]:
    """Indent and text of every row, those of folded branches too."""
    rows = Outline(loom).rows(whole=True)
    return [
        ("  " * row.depth, visible(b"".join(loom.data(loom.nodes[id]) for id in row.ids)))
        for row in rows
    ]


_ANYWHERE = re.compile(r"[\\`*_\[\]<>&~|$]")
"""What Markdown reads as its own wherever it stands."""
_AT_START = re.compile(r"(?:[#+=:-]|\d+(?=[.)]))")
"""What makes a heading, a list or a rule of a line that begins with it."""
_BREAK = "  \n"
"""Two spaces: every Markdown knows this line break, old ones too."""
_INDENT = "&nbsp;"
_SPACE = " \t"
_TAB = 4


def markdown_prose(text: str) -> str:
    """Paragraphs as paragraphs; a line break inside of one, as in dialogue and verse, as one."""
    paragraphs = re.split(r"\n(?:[ \t]*\n)+", text.strip("\n"))
    lines = (map(markdown_line, filter(_holds, one.split("\n"))) for one in paragraphs)
    return "\n\n".join(filter(None, map(_BREAK.join, lines)))


def markdown_line(text: str) -> str:
    """A line that stays one; its indent stays too, and makes no code of it."""
    escaped = text.strip(_SPACE)
    indent = text[: len(text) - len(text.lstrip(_SPACE))].expandtabs(_TAB)
    escaped = _ANYWHERE.sub(r"\\\g<0>", escaped)
    begun = _AT_START.match(escaped)
    if begun:
        at = begun.end() if escaped[0].isdigit() else 0
        escaped = f"{escaped[:at]}\\{escaped[at:]}"
    return _INDENT * len(indent) + escaped


def _holds(text: str) -> bool:
    return bool(text.strip(_SPACE))
