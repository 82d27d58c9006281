"""A loom as exports read it."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llterm.core.birth import Birth, read_birth
from llterm.core.history import Value
from llterm.core.loom import ROOT, Loom, Node
from llterm.store.file import LoomFile


@dataclass(slots=True)
class Source:
    """Everything a loom holds, but for its history."""

    loom: Loom
    title: str
    meta: Mapping[str, Value] = field(default_factory=dict)
    extras: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Per node, by format: fields that were imported and that a loom has no place for."""
    births: Mapping[int, Birth] = field(default_factory=dict)
    """Per piece of a model."""

    def extra(self, id: int, format: str) -> dict[str, Any]:
        """What a node's file of that format said besides."""
        found = self.extras.get(id, {}).get(format, {})
        return dict(found) if isinstance(found, Mapping) else {}


def read_source(path: Path) -> Source:
    """Read a loom for an export. Raises UsageError where it cannot be read."""
    file = LoomFile(path)
    try:
        contents = file.load()
        loom = contents.loom
        known = loom.pieces.fetch(loom.pieces.texts)
        births = file.births(id for id, piece in known.items() if piece.ids is not None)
        extras = {id: json.loads(text) for id, text in file.extras().items()}
    except ValueError as error:
        raise file.broken(error) from error
    finally:
        file.close()
    found = {id: read_birth(text) for id, text in births.items()}
    return Source(loom, path.stem, contents.meta, extras, found)


def whole_texts(loom: Loom) -> dict[int, str]:
    """The nodes' texts for formats that hold no bytes, so that every path reads right.

    A character that is spread over nodes stands where it ends; what is broken is `�`.
    """
    found: dict[int, str] = {}
    waiting: list[tuple[int, bytes]] = [(id, b"") for id in loom.children.get(ROOT, ())]
    while waiting:
        id, before = waiting.pop()
        below = loom.children.get(id, ())
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        found[id] = decoder.decode(before + loom.data(loom.nodes[id]), final=not below)
        rest = decoder.getstate()[0]
        waiting += ((child, rest) for child in below)
    return found


def author_of(loom: Loom, node: Node) -> str:
    """Who wrote a node, or the most of it."""
    sizes: dict[str, int] = {}
    for piece, start, stop in node.slices:
        author = loom.pieces[piece].author
        sizes[author] = sizes.get(author, 0) + stop - start
    return max(sizes, key=lambda author: sizes[author])
