"""Plain text and Markdown: the story, or every branch as an outline."""

from __future__ import annotations

from llterm.core.display import display_text, label_text, visible
from llterm.core.loom_tree import Loom
from llterm.core.tree_outline import Outline
from llterm.formats import markdown
from llterm.formats.export_source import ExportSource
from llterm.formats.imported_tree import ImportedNode, ImportedTree, typed
from llterm.text_file import MARK

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
    title = markdown.line(label_text(source.title))
    story = markdown.prose(display_text(source.loom.text().replace(b"\r\n", b"\n")))
    page = f"# {title}\n\n{story}\n"
    if every:
        rows = (f"{indent}- {markdown.line(text)}\n" for indent, text in _outline(source.loom))
        page += "\n## Every branch\n\n" + "".join(rows)
    return page.encode()


def _outline(loom: Loom) -> list[tuple[str, str]]:
    """Indent and text of every row, those of folded branches too."""
    rows = Outline(loom).rows(whole=True)
    return [
        ("  " * row.depth, visible(b"".join(loom.data(loom.nodes[id]) for id in row.ids)))
        for row in rows
    ]
