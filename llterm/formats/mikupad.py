"""mikupad's session export: an object whose values are JSON texts; one line of chunks.

Only the text, its probabilities and the memory are taken: the rest are settings of that program,
addresses and keys among them.
"""

from __future__ import annotations

import math
from typing import Any

from llterm.core.loom_tree import PERSON
from llterm.errors import UsageError
from llterm.formats.imported_tree import (
    UNKNOWN,
    ImportedNode,
    ImportedToken,
    ImportedTree,
    chained,
    made,
    typed,
)
from llterm.formats.json_place import JsonPlace, parsed

NAME = "mikupad"
MARKS = "a prompt and an endpointAPI"
_PERSON = "user"


def matches(value: Any) -> bool:
    return isinstance(value, dict) and "prompt" in value and "endpointAPI" in value


def read(place: JsonPlace) -> ImportedTree:
    """Chunks as a line of nodes; neighbouring tokens of the model are one."""
    tree = ImportedTree(NAME, [], prefix=_memory(place))
    named = _inner(place, "endpointModel").value
    model = named if isinstance(named, str) and named else "a model"
    prompt = _inner(place, "prompt")
    if isinstance(prompt.value, str):
        prompt = prompt.instead([{"type": _PERSON, "content": prompt.value}])
    branches: list[ImportedNode] = []
    tokens: list[ImportedToken] = []

    def end() -> None:
        if tokens:
            branches.append(ImportedNode("", made(tokens, model)))
            tokens.clear()

    for chunk in prompt.items():
        person = chunk.text_of("type") == _PERSON
        content = chunk.field("content").text()
        token = None if person else _token(chunk, content)
        if token is not None:
            tokens.append(token)
            continue
        end()
        branches.append(ImportedNode("", typed(content, author=PERSON if person else model)))
    end()
    tree.roots = chained(branches)
    tree.notes.append("Addresses, keys and settings of mikupad were left out.")
    return tree


def _inner(place: JsonPlace, name: str) -> JsonPlace:
    """A property, which is JSON inside of JSON in an export, and plain in a backup of a server."""
    field = place.optional(name)
    if field is None:
        return JsonPlace(None, name)
    if not isinstance(field.value, str):
        return field
    try:
        return field.instead(parsed(field.value, name))
    except UsageError:
        if name == "prompt":
            raise
        return field


def _memory(place: JsonPlace) -> str:
    texts = []
    for name in ("memoryTokens", "authorNoteTokens"):
        inner = _inner(place, name)
        if isinstance(inner.value, dict):
            texts.append(inner.text_of("text"))
    return "\n".join(filter(None, texts))


def _token(chunk: JsonPlace, content: str) -> ImportedToken | None:
    """A token with its probability; None where that is not known."""
    p = chunk.optional("prob")
    if p is None or not 0 < p.number() <= 1:
        return None
    first = next(chunk.items_of("completion_probabilities"), None)
    alternatives = tuple(
        (UNKNOWN, candidate.text_of("tok_str").encode(), math.log(candidate.field("prob").number()))
        for candidate in (first.items_of("probs") if first is not None else ())
        if 0 < candidate.field("prob").number() <= 1
    )
    return ImportedToken(content.encode(), math.log(p.number()), alternatives)
