"""mikupad's session export: an object whose values are JSON texts; one line of chunks.

Only the text, its probabilities and the memory are taken: the rest are settings of that program,
addresses and keys among them.
"""

from __future__ import annotations

import json
import math
from typing import Any

from llterm.formats.reading import Place, wrong
from llterm.formats.tree import UNKNOWN, Branch, Made, Tree, chained, made, typed

NAME = "mikupad"
MARKS = "a prompt and an endpointAPI"
_PERSON = "user"


def matches(value: Any) -> bool:
    return isinstance(value, dict) and "prompt" in value and "endpointAPI" in value


def read(place: Place) -> Tree:
    """Chunks as a line of nodes; neighbouring tokens of the model are one."""
    tree = Tree(NAME, [], prefix=_memory(place))
    model = _inner(place, "endpointModel").value or "a model"
    prompt = _inner(place, "prompt")
    if isinstance(prompt.value, str):
        prompt = Place([{"type": _PERSON, "content": prompt.value}], prompt.path)
    branches: list[Branch] = []
    tokens: list[Made] = []

    def end() -> None:
        if tokens:
            branches.append(Branch("", made(tokens, str(model))))
            tokens.clear()

    for chunk in prompt.items():
        person = chunk.text_of("type") == _PERSON
        content = chunk.field("content").text()
        token = None if person else _token(chunk, content)
        if token is not None:
            tokens.append(token)
            continue
        end()
        branches.append(Branch("", typed(content, author="person" if person else str(model))))
    end()
    tree.roots = chained(branches)
    tree.notes.append("Addresses, keys and settings of mikupad were left out.")
    return tree


def _inner(place: Place, name: str) -> Place:
    """A property, which is JSON inside of JSON in an export, and plain in a backup of a server."""
    found = place.optional(name)
    if found is None:
        return Place(None, name)
    if not isinstance(found.value, str):
        return found
    try:
        return Place(json.loads(found.value), found.path)
    except (json.JSONDecodeError, RecursionError) as error:
        if name != "prompt":
            return found
        raise wrong(f"{name} is no JSON: {error}.") from error


def _memory(place: Place) -> str:
    texts = []
    for name in ("memoryTokens", "authorNoteTokens"):
        found = _inner(place, name)
        if isinstance(found.value, dict):
            texts.append(found.text_of("text"))
    return "\n".join(filter(None, texts))


def _token(chunk: Place, content: str) -> Made | None:
    """A token with its probability; None where that is not known."""
    p = chunk.optional("prob")
    if p is None or not 0 < p.number() <= 1:
        return None
    listed = chunk.optional("completion_probabilities")
    first = next(listed.items(), None) if listed is not None else None
    probs = first.optional("probs") if first is not None else None
    alternatives = tuple(
        (UNKNOWN, one.text_of("tok_str").encode(), math.log(one.field("prob").number()))
        for one in (probs.items() if probs is not None else ())
        if one.field("prob").number() > 0
    )
    return Made(content.encode("utf-8", "surrogateescape"), math.log(p.number()), alternatives)
