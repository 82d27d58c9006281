"""basemode-loom's JSON export: a list of nodes with `parent_id`."""

from __future__ import annotations

from typing import Any

from llterm.core.loom_tree import PERSON, Marks
from llterm.formats.imported_tree import ImportedNode, ImportedTree, assembled, typed
from llterm.formats.json_place import JsonPlace

NAME = "basemode-loom"
MARKS = "nodes, one of them with a parent_id"
MOST_RATING = 5


def matches(value: Any) -> bool:
    nodes = value.get("nodes") if isinstance(value, dict) else None
    return isinstance(nodes, list) and any(
        isinstance(one, dict) and "parent_id" in one for one in nodes
    )


def read(place: JsonPlace) -> ImportedTree:
    """Nodes of a kind other than text (contexts) become the hidden prefix."""
    tree = ImportedTree(NAME, [])
    nodes: dict[str, tuple[str | None, ImportedNode]] = {}
    hidden: list[str] = []
    for node in place.field("nodes").items():
        if node.text_of("kind", "text") != "text":
            hidden.append(node.text_of("text"))
            continue
        id = node.field("id").key()
        nodes[id] = node.key_of("parent_id"), _branch(id, node)
    tree.prefix = "\n".join(filter(None, hidden))
    tree.roots = assembled(nodes, tree)
    tree.head = _checked_out(place, tree)
    return tree


def _branch(id: str, place: JsonPlace) -> ImportedNode:
    metadata = place.inner("metadata")
    when = place.when("created_at")
    return ImportedNode(
        id,
        typed(place.text_of("text"), when, place.text_of("model") or PERSON),
        Marks(bookmark=metadata.flag_of("bookmarked"), rating=rating(metadata)),
        folded=metadata.flag_of("hidden"),
    )


def _checked_out(place: JsonPlace, tree: ImportedTree) -> str | None:
    """Where the checked-out children lead to; None where none is."""
    taken = {
        node.field("id").key() for node in place.field("nodes").items()
        if node.flag_of("checked_out")
    }  # fmt: skip
    at = tree.roots[0] if taken and tree.roots else None
    while at is not None:
        following = next((one for one in at.children if one.key in taken), None)
        if following is None:
            return at.key
        at = following
    return None


def rating(place: JsonPlace) -> int:
    """A rating of another program as one from 1 to 5; thumbs are 5 and 1."""
    given = place.optional("rating")
    if given is None:
        return 0
    if isinstance(given.value, bool):
        return MOST_RATING if given.value else 1
    return min(max(round(given.number()), 0), MOST_RATING)
