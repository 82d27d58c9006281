"""exoloom's JSON (schema version 1): nodes by number, and a lens with bookmarks and prunes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from llterm.core.loom_tree import PERSON
from llterm.formats.imported_tree import ImportedNode, ImportedTree, assembled, typed
from llterm.formats.json_place import JsonPlace, wrong

NAME = "exoloom"
MARKS = 'loomType, which is "exoloom"'
VERSION = 1


def matches(value: Any) -> bool:
    kind = value.get("loomType") if isinstance(value, dict) else None
    return isinstance(kind, str) and kind.lower() == "exoloom"


def read(place: JsonPlace) -> ImportedTree:
    """Pruned nodes are folded and tagged `pruned`."""
    version = place.field("schemaVersion")
    if version.value != VERSION:
        raise version.bad(f"{VERSION}, the version that is known")
    inner, tree = place.field("tree"), ImportedTree(NAME, [])
    nodes: dict[str, tuple[str | None, ImportedNode]] = {}
    for id, node in inner.field("nodes").entries():
        nodes[id] = node.key_of("parentId"), _branch(id, node)
    _sort(inner, nodes)
    for id in _lens(place, "bookmarks", nodes):
        branch = nodes[id][1]
        branch.marks = replace(branch.marks, bookmark=True)
    for id in _lens(place, "prunedNodes", nodes):
        branch = nodes[id][1]
        branch.marks, branch.folded = replace(branch.marks, tags=("pruned",)), True
    if inner.field("rootNodeId").key() not in nodes:
        raise wrong("tree.rootNodeId names no node.")
    roots = assembled(nodes, tree)
    tree.roots = roots
    title = "\n".join(filter(None, (inner.text_of("title"), inner.text_of("description"))))
    if title and roots:
        roots[0].marks = replace(roots[0].marks, note=title)
    return tree


def _branch(id: str, place: JsonPlace) -> ImportedNode:
    kind = place.field("authorType").text()
    author = PERSON if kind == "USER" else place.text_of("authorName") or "a model"
    when = place.when("createdAt")
    return ImportedNode(id, typed(place.field("content").text(), when, author))


def _sort(tree: JsonPlace, nodes: dict[str, tuple[str | None, ImportedNode]]) -> None:
    """Put the nodes into the order of their parents' lists of children."""
    places: dict[str, int] = {}
    for _, node in tree.field("nodes").entries():
        places.update((child.key(), n) for n, child in enumerate(node.items_of("childrenIds")))
    ordered = sorted(nodes.items(), key=lambda pair: places.get(pair[0], 0))
    nodes.clear()
    nodes.update(ordered)


def _lens(
    place: JsonPlace, name: str, nodes: dict[str, tuple[str | None, ImportedNode]]
) -> list[str]:
    ids = [one.field("nodeId").key() for one in place.inner("lens").items_of(name)]
    return [id for id in ids if id in nodes]
