"""LLooM beamwriter's JSON: the picks of a story in order."""

from __future__ import annotations

from typing import Any

from llterm.core.loom_tree import PERSON
from llterm.formats.imported_tree import ImportedNode, ImportedTree, chained, typed
from llterm.formats.json_place import JsonPlace

NAME = "beamwriter"
MARKS = "a story that is a list of texts"


def matches(value: Any) -> bool:
    story = value.get("story") if isinstance(value, dict) else value
    return isinstance(story, list) and all(isinstance(one, str) for one in story)


def read(place: JsonPlace) -> ImportedTree:
    """Each pick is a node; the first is the person's. An instruction is the hidden prefix."""
    plain = isinstance(place.value, list)
    story = place if plain else place.field("story")
    tree = ImportedTree(NAME, [], prefix="" if plain else place.text_of("user_input"))
    branches = [
        ImportedNode(str(number), typed(one.text(), author="a model" if number else PERSON))
        for number, one in enumerate(story.items())
    ]
    tree.roots = chained(branches)
    return tree
