"""LLooM beamwriter's JSON: the picks of a story in order."""

from __future__ import annotations

from typing import Any

from llterm.core.loom import PERSON
from llterm.formats.reading import Place
from llterm.formats.tree import Branch, Tree, chained, typed

NAME = "beamwriter"
MARKS = "a story that is a list of texts"


def matches(value: Any) -> bool:
    story = value.get("story") if isinstance(value, dict) else value
    return isinstance(story, list) and all(isinstance(one, str) for one in story)


def read(place: Place) -> Tree:
    """Each pick is a node; the first is the person's. An instruction is the hidden prefix."""
    plain = isinstance(place.value, list)
    story = place if plain else place.field("story")
    tree = Tree(NAME, [], prefix="" if plain else place.text_of("user_input"))
    branches = [
        Branch(str(number), typed(one.text(), author="a model" if number else PERSON))
        for number, one in enumerate(story.items())
    ]
    tree.roots = chained(branches)
    return tree
