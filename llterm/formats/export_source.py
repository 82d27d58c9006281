"""A loom as exports read it, and the nested JSON that some of them are."""

from __future__ import annotations

import codecs
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from llterm.core.history import UndoStep, Value
from llterm.core.json_text import json_text
from llterm.core.loom_tree import ROOT, LoomNode, LoomTree
from llterm.core.provenance import Provenance, read_provenance
from llterm.faults import own_faults
from llterm.store.loom_snapshot import LoomSnapshot, read_whole


@dataclass(slots=True)
class ExportSource:
    """Everything a loom holds."""

    loom: LoomTree
    title: str
    meta: Mapping[str, Value] = field(default_factory=dict)
    extras: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    """Per node, by format: fields that were imported and that a loom has no place for."""
    births: Mapping[int, Provenance] = field(default_factory=dict)
    """Per piece of a model."""
    steps: Sequence[tuple[UndoStep, bool]] = ()
    """The history where it was asked for, and which steps are undone."""

    def extra(self, id: int, format: str) -> dict[str, Any]:
        """What a node's file of that format said besides."""
        fields = self.extras.get(id)
        found = fields.get(format) if isinstance(fields, Mapping) else None
        return dict(found) if isinstance(found, Mapping) else {}


@own_faults("a loom was exported")
def read_source(path: Path, *, history: bool) -> ExportSource:
    """Read a loom for an export. Raises LltermError where it cannot be read."""
    return source_of(read_whole(path, history=history), path.stem)


def source_of(whole: LoomSnapshot, title: str) -> ExportSource:
    """A loom in memory for an export."""
    loom = whole.loom
    pieces = (loom.pieces[id] for id in loom.pieces.texts)
    births = {one.id: read_provenance(one.birth) for one in pieces if one.ids is not None}
    extras = {id: json.loads(fields) for id, fields in whole.extras.items()}
    return ExportSource(loom, title, whole.meta, extras, births, whole.steps)


def whole_texts(loom: LoomTree) -> dict[int, str]:
    """The nodes' texts for formats that hold no bytes, so that every path reads right.

    A character that is spread over nodes stands where it ends; what is broken is `�`.
    """
    texts: dict[int, str] = {}
    waiting: list[tuple[int, bytes]] = [(id, b"") for id in loom.children.get(ROOT, ())]
    while waiting:
        id, before = waiting.pop()
        below = loom.children.get(id, ())
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        texts[id] = decoder.decode(before + loom.data(loom.nodes[id]), final=not below)
        rest = decoder.getstate()[0]
        waiting += ((child, rest) for child in below)
    return texts


def author_of(loom: LoomTree, node: LoomNode) -> str:
    """Who wrote a node, or the most of it."""
    sizes: dict[str, int] = {}
    for piece, start, stop in node.slices:
        author = loom.pieces[piece].author
        sizes[author] = sizes.get(author, 0) + stop - start
    return max(sizes, key=lambda author: sizes[author])


def uuid_of(id: int) -> str:
    """A node's id for programs whose nodes have UUIDs: the same in every export."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"llterm.{id}"))


One = TypeVar("One")


def nested(
    roots: Iterable[One],
    fields: Callable[[One], dict[str, Any]],
    below: Callable[[One], Iterable[One]],
) -> Iterator[str]:
    """A list of objects, each with its children as a list under `children`, in parts of JSON."""
    yield "["
    stack: list[Iterator[One]] = [iter(roots)]
    first = True
    while stack:
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
            yield "]}" if stack else "]"
            first = False
            continue
        if not first:
            yield ","
        head = json_text(_less(fields(node), "children"))[:-1]
        yield head + (", " if len(head) > 1 else "") + '"children": ['
        stack.append(iter(below(node)))
        first = True


def with_member(document: dict[str, Any], name: str, member: str) -> str:
    """An object with one more member, which is JSON already."""
    document = _less(document, name)
    rest = json_text(document, indent=2)
    comma = ",\n  " if document else "\n  "
    return rest.rstrip("}").rstrip() + f"{comma}{json_text(name)}: {member}\n}}\n"


def _less(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """Without what is written beside it: a name twice in an object is no JSON for many."""
    return {one: value for one, value in fields.items() if one != name}
