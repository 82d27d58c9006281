"""bonsai's list of nodes with their parents' ids."""

from __future__ import annotations

from typing import Any

from llterm.core.loom_tree import PERSON, Marks
from llterm.formats.basemode import rating
from llterm.formats.imported_tree import (
    ImportedNode,
    ImportedToken,
    ImportedTree,
    assembled,
    made,
    typed,
)
from llterm.formats.json_place import JsonPlace
from llterm.number_format import count_of

NAME = "bonsai"
MARKS = "nodes, one of them with parentIds"


def matches(value: Any) -> bool:
    nodes = value.get("nodes") if isinstance(value, dict) else None
    return isinstance(nodes, list) and any(
        isinstance(one, dict) and "parentIds" in one for one in nodes
    )


def read(place: JsonPlace) -> ImportedTree:
    """A node with several parents hangs under the first one.

    Some files give each node the whole text up to its end; then what the parent has is taken off.
    """
    tree = ImportedTree(NAME, [])
    parents: dict[str, str | None] = {}
    nodes: dict[str, JsonPlace] = {}
    several = 0
    for node in place.field("nodes").items():
        id = node.field("id").key()
        keys = [above.key() for above in node.items_of("parentIds")]
        several += len(keys) > 1
        parents[id], nodes[id] = (keys[0] if keys else None), node
    texts = {id: node.text_of("text") for id, node in nodes.items()}
    own = _own(texts, parents)
    found = {id: (parents[id], _branch(id, node, own[id])) for id, node in nodes.items()}
    tree.roots = assembled(found, tree)
    if several:
        tree.notes.append(
            count_of(several, "node with several parents hangs", "nodes with several parents hang")
            + " under the first one."
        )
    return tree


def _own(texts: dict[str, str], parents: dict[str, str | None]) -> dict[str, str]:
    pairs = [(texts[id], texts[above]) for id, above in parents.items() if above in texts]
    if not pairs or not all(text.startswith(above) and above for text, above in pairs):
        return texts
    return {id: text[len(texts.get(parents[id] or "", "")) :] for id, text in texts.items()}


def _branch(id: str, place: JsonPlace, text: str) -> ImportedNode:
    model = place.text_of("model")
    when = place.when("createdAt")
    tokens = _tokens(place, text)
    return ImportedNode(
        id,
        made(tokens, model, when) if tokens else typed(text, when, model or PERSON),
        Marks(bookmark=place.flag_of("bookmarked"), rating=rating(place)),
        folded=place.flag_of("hidden"),
    )


def _tokens(place: JsonPlace, text: str) -> list[ImportedToken]:
    """Tokens with their logprobs, where they are the node's text; else none."""
    listed = place.optional("logprobs")
    if listed is None or not isinstance(listed.value, list):
        return []
    tokens = [
        ImportedToken(token.field("token").text().encode(), token.field("logprob").logprob())
        for token in listed.items()
    ]
    return tokens if b"".join(token.data for token in tokens) == text.encode() else []
