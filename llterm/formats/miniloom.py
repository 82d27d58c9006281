"""MiniLoom's JSON: nodes as diff-match-patch patches to their parents' text."""

from __future__ import annotations

from typing import Any

from llterm.core.loom_tree import PERSON, Marks
from llterm.formats.basemode import rating
from llterm.formats.imported_tree import ImportedNode, ImportedTree, assembled, typed
from llterm.formats.json_place import JsonPlace, wrong
from llterm.number_format import count_of

NAME = "miniloom"
MARKS = "a nodeStore in its loomTree"
_MODELS = ("gen", "rewrite")
_TWO = 2
"""Bytes of a unit: the patches count UTF-16 code units, as JavaScript does."""


def matches(value: Any) -> bool:
    inner = value.get("loomTree") if isinstance(value, dict) else None
    return isinstance(inner, dict) and isinstance(inner.get("nodeStore"), dict)


def read(place: JsonPlace) -> ImportedTree:
    """A node that goes on from its parent's text holds what it adds.

    One that rewrites it hangs under the nearest node above whose text it does go on from.
    """
    store = place.field("loomTree").field("nodeStore")
    nodes = dict(store.entries())
    parents = {id: node.key_of("parent") for id, node in nodes.items()}
    texts = _texts(nodes, parents)
    tree, rewritten = ImportedTree(NAME, []), 0
    branches: dict[str, tuple[str | None, ImportedNode]] = {}
    for id, node in nodes.items():
        above = parents[id]
        while above is not None and not texts[id].startswith(texts[above]):
            above = parents[above]
        rewritten += above != parents[id]
        own = texts[id][len(texts[above]) if above is not None else 0 :]
        branches[id] = above, _branch(id, node, own)
    tree.roots = assembled(branches, tree)
    tree.head = place.inner("focus").key_of("id")
    if tree.head not in nodes:
        tree.head = None
    if rewritten:
        tree.notes.append(
            count_of(rewritten, "node rewrites", "nodes rewrite") + " the text above: branches now."
        )
    return tree


def _branch(id: str, place: JsonPlace, text: str) -> ImportedNode:
    kind = place.text_of("type")
    author = place.text_of("model") or "a model" if kind in _MODELS else PERSON
    when = place.when("timestamp")
    summary = place.text_of("summary")
    read = place.optional("read")
    return ImportedNode(
        id,
        typed(text, when, author),
        Marks(rating=rating(place), note=summary if text else ""),
        unread=read is not None and read.value is False and kind in _MODELS,
    )


def _texts(nodes: dict[str, JsonPlace], parents: dict[str, str | None]) -> dict[str, str]:
    """The whole text of every node, parents before children."""
    texts: dict[str, str] = {}
    for id in nodes:
        line: dict[str, None] = {}
        at: str | None = id
        while at is not None and at not in texts:
            if at not in nodes:
                raise wrong(f"{nodes[next(reversed(line))].path}.parent names no node.")
            if at in line:
                raise wrong(f"{nodes[at].path} stands above itself.")
            line[at] = None
            at = parents[at]
        for one in reversed(line):
            texts[one] = _patched(texts.get(parents[one] or "", ""), nodes[one])
    return texts


def _patched(text: str, node: JsonPlace) -> str:
    patches = node.optional("patch") or node.optional("patches")
    if patches is None or patches.value == "":
        return text
    data = text.encode("utf-16-le", "surrogatepass")
    for patch in patches.items():
        start = patch.optional("start2")
        begin = _TWO * start.whole() if start is not None else len(data)
        at = begin
        for operation, part in _diffs(patch):
            bytes_ = part.encode("utf-16-le", "surrogatepass")
            if operation <= 0:
                if data[at : at + len(bytes_)] != bytes_:
                    raise wrong(f"{patch.path} does not fit the text that it patches.")
                if operation < 0:
                    data = data[:at] + data[at + len(bytes_) :]
                else:
                    at += len(bytes_)
            else:
                data = data[:at] + bytes_ + data[at:]
                at += len(bytes_)
    return data.decode("utf-16-le", "surrogatepass").encode("utf-8", "replace").decode()


def _diffs(patch: JsonPlace) -> list[tuple[int, str]]:
    """Operations (-1 delete, 0 equal, 1 insert) with their texts, as lists or as objects."""
    operations = []
    for operation in patch.field("diffs").items():
        if isinstance(operation.value, dict):
            pair = [operation.field("0"), operation.field("1")]
        else:
            pair = list(operation.items())
        if len(pair) != _TWO:
            raise operation.bad("an operation and a text")
        operations.append((pair[0].whole(-1, 1), pair[1].text()))
    return operations
