"""mikupad's session export: an object whose values are JSON texts; one line of chunks.

Only the text, its probabilities and the memory are taken: the rest are settings of that program,
addresses and keys among them.
"""

from __future__ import annotations

import math
from typing import Any

from llterm.core.loom import PERSON
from llterm.errors import UsageError
from llterm.formats.reading import Place, parsed
from llterm.formats.tree import UNKNOWN, Branch, Made, Tree, chained, made, typed

NAME = "mikupad"
MARKS = "a prompt and an endpointAPI"
_PERSON = "user"


def matches(value: Any) -> bool:
    return isinstance(value, dict) and "prompt" in value and "endpointAPI" in value


def read(place: Place) -> Tree:
    """Chunks as a line of nodes; neighbouring tokens of the model are one."""
    tree = Tree(NAME, [], prefix=_memory(place))
    named = _inner(place, "endpointModel").value
    model = named if isinstance(named, str) and named else "a model"
    prompt = _inner(place, "prompt")
    if isinstance(prompt.value, str):
        prompt = prompt.instead([{"type": _PERSON, "content": prompt.value}])
    branches: list[Branch] = []
    tokens: list[Made] = []

    def end() -> None:
        if tokens:
            branches.append(Branch("", made(tokens, model)))
            tokens.clear()

    for chunk in prompt.items():
        person = chunk.text_of("type") == _PERSON
        content = chunk.field("content").text()
        token = None if person else _token(chunk, content)
        if token is not None:
            tokens.append(token)
            continue
        end()
        branches.append(Branch("", typed(content, author=PERSON if person else model)))
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
        return found.instead(parsed(found.value, name))
    except UsageError:
        if name == "prompt":
            raise
        return found


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
        if 0 < one.field("prob").number() <= 1
    )
    return Made(content.encode(), math.log(p.number()), alternatives)
