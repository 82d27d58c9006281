"""A loom as a Graphviz graph."""

from __future__ import annotations

from collections.abc import Iterator

from llterm.core.display_text import label_text, visible
from llterm.core.loom_tree import PERSON, ROOT, LoomTree
from llterm.core.tree_outline import children
from llterm.formats.export_source import ExportSource, author_of
from llterm.number_format import of_logprob

_LONGEST = 48
_COLORS = ("#2f6fab", "#a8503a", "#4f8a4a", "#7d5ba6", "#8a7a2f", "#3a8a8a")
"""One a model, in the order of their names."""


def write(source: ExportSource, *, merge: int = 0) -> str:
    """The tree, its story in bold lines.

    With `merge`, nodes of equal text become one where their depths lie in the same stretch of so
    many levels: a graph that shows which words keep coming back. 0 merges nothing.
    """
    title = quoted(label_text(source.title))
    lines = [
        f'digraph "{title}" {{',
        '  graph [rankdir=LR, bgcolor="transparent", nodesep=0.15, ranksep=0.4];',
        '  node [shape=box, style="rounded,filled", fillcolor="#f4f1ea", color="#9a948a", '
        'fontname="Georgia", fontsize=11, margin="0.12,0.05"];',
        '  edge [color="#9a948a", arrowsize=0.5, fontname="Helvetica", fontsize=9];',
        '  root [shape=point, width=0.12];',
    ]  # fmt: skip
    return "\n".join((*lines, *_graph(source, merge), "}")) + "\n"


def _graph(source: ExportSource, merge: int) -> Iterator[str]:
    loom = source.loom
    story = {node.id for node in loom.path()}
    colors = _colors(loom)
    names = {ROOT: "root"}
    merged: dict[tuple[int, bytes], str] = {}
    drawn: set[str] = set()
    edges: set[tuple[str, str]] = set()
    waiting = [(ROOT, 0)]
    while waiting:
        id, level = waiting.pop()
        if id != ROOT:
            text = loom.data(loom.nodes[id])
            name = f"n{id}"
            if merge:
                name = merged.setdefault((level // merge, text.strip()), name)
            names[id] = name
            if name not in drawn:
                drawn.add(name)
                yield _node(source, id, name, colors)
            above = names[loom.nodes[id].parent]
            if (above, name) not in edges:
                edges.add((above, name))
                yield _edge(loom, id, above, name, strong=id in story)
        waiting += [(one, level + 1) for one in reversed(children(loom, id))]


def _node(source: ExportSource, id: int, name: str, colors: dict[str, str]) -> str:
    loom = source.loom
    text = visible(loom.data(loom.nodes[id]))
    label = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    author = author_of(loom, loom.nodes[id])
    tip = label_text(author) + ": " + text
    color = f', color="{colors[author]}"' if author in colors else ""
    mark = ", peripheries=2" if id in loom.marks and loom.marks[id].bookmark else ""
    return f'  {name} [label="{quoted(label)}", tooltip="{quoted(tip)}"{color}{mark}];'


def _edge(loom: LoomTree, id: int, above: str, name: str, *, strong: bool) -> str:
    logprob = loom.logprob(id)
    label = f'label=" {of_logprob(logprob)}"' if logprob is not None else ""
    bold = 'penwidth=2.5, color="#c77d1a"' if strong else ""
    attributes = ", ".join(filter(None, (label, bold)))
    return f"  {above} -> {name}" + (f" [{attributes}];" if attributes else ";")


def _colors(loom: LoomTree) -> dict[str, str]:
    authors = {
        loom.pieces[part.piece].author
        for id in loom.below(ROOT) if id != ROOT for part in loom.nodes[id].slices
    } - {PERSON}  # fmt: skip
    return {one: _COLORS[n % len(_COLORS)] for n, one in enumerate(sorted(authors))}


def quoted(text: str) -> str:
    """Inside a quoted DOT string a backslash begins an escape, and a quote ends it."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
