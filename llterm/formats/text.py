"""Plain text and Markdown: the story, or every branch as an outline."""

from __future__ import annotations

import re

from llterm.core.display import visible
from llterm.core.loom import Loom
from llterm.core.outline import Outline
from llterm.formats.source import Source
from llterm.formats.tree import Branch, Tree, typed

NAME = "text"
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~])")


def read_text(data: bytes) -> Tree:
    """A text file as a story of one node."""
    branch = Branch("text", typed(data.decode("utf-8", "surrogateescape")))
    return Tree(NAME, [branch])


def write_text(source: Source, *, every: bool) -> bytes:
    """The story, byte for byte; or every branch, a row each, indented by the forks above it."""
    if not every:
        return source.loom.text()
    return "".join(f"{indent}{text}\n" for indent, text in _outline(source.loom)).encode()


def write_markdown(source: Source, *, every: bool) -> bytes:
    """The story under its title; then, if asked for, every branch as a list."""
    title = _escaped(visible(source.title.encode("utf-8", "replace")))
    found = f"# {title}\n\n".encode() + source.loom.text().rstrip(b"\n") + b"\n"
    if every:
        rows = (f"{indent}- {_escaped(text)}\n" for indent, text in _outline(source.loom))
        found += b"\n## Every branch\n\n" + "".join(rows).encode()
    return found


def _escaped(text: str) -> str:
    """As Markdown shows it letter by letter."""
    return _MARKDOWN.sub(r"\\\1", text)


def _outline(loom: Loom) -> list[tuple[str, str]]:
    """Indent and text of every row, those of folded branches too."""
    rows = Outline(loom).rows(whole=True)
    return [
        ("  " * row.depth, visible(b"".join(loom.data(loom.nodes[id]) for id in row.ids)))
        for row in rows
    ]
