"""A tree on its way from another program's file into a loom."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from llterm.core.json_text import json_text
from llterm.core.loom_tree import PERSON, ROOT, LoomNode, Marks, Piece, PieceSlice
from llterm.core.provenance import Alternative, Provenance, provenance_text
from llterm.core.weave_settings import WeaveSettings
from llterm.formats.json_place import UnusableNumber, wrong
from llterm.number_format import count_of
from llterm.store.stored_rows import Changes
from llterm.store.stored_settings import rules_text

UNKNOWN = -1
"""Id of a token whose number in the vocabulary the file does not say."""


@dataclass(slots=True)
class ImportedNode:
    """A node of the file."""

    key: str
    pieces: list[Piece] = field(default_factory=list)
    """Its text; none where it has no text of its own."""
    marks: Marks = field(default_factory=Marks)
    folded: bool = False
    unread: bool = False
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that a loom has no place for: kept, and given back by an export of that format."""
    children: list[ImportedNode] = field(default_factory=list)


@dataclass(slots=True)
class ImportedTree:
    """What was read."""

    format: str
    roots: list[ImportedNode]
    head: str | None = None
    """Key of the node where the story ends; None: follow the newest children."""
    prefix: str = ""
    extra: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What the person should know about what was left out."""


@dataclass(frozen=True, slots=True)
class ImportedToken:
    """A token that a model made."""

    data: bytes
    logprob: float
    alternatives: tuple[Alternative, ...] = ()
    id: int = UNKNOWN


def typed(text: str, created: float = 0.0, author: str = PERSON) -> list[Piece]:
    """Text whose tokens are not known; also a model's."""
    data = text.encode("utf-8", "surrogateescape")
    return [Piece(0, data, author, created)] if data else []


def made(tokens: Iterable[ImportedToken], author: str, created: float = 0.0) -> list[Piece]:
    """A model's text in its tokens."""
    listed = tuple(tokens)
    data = b"".join(token.data for token in listed)
    birth = Provenance({}, tuple(token.alternatives for token in listed))
    return [Piece(
        0, data, author or "a model", created, tuple(token.id for token in listed),
        tuple(len(token.data) for token in listed),
        logprobs=tuple(token.logprob for token in listed), birth=provenance_text(birth),
    )] if data else []  # fmt: skip


def chained(branches: list[ImportedNode]) -> list[ImportedNode]:
    """The root of a story without a fork, each of these under the one before."""
    for above, below in pairwise(branches):
        above.children.append(below)
    return branches[:1]


def assembled(
    nodes: dict[str, tuple[str | None, ImportedNode]], tree: ImportedTree
) -> list[ImportedNode]:
    """Roots of nodes given by key, each with its parent's key.

    One whose parent is not in the file becomes a root, and that is noted; a ring is an error.
    """
    roots: list[ImportedNode] = []
    lost = 0
    for parent, branch in nodes.values():
        if parent is None or parent not in nodes:
            lost += parent is not None
            roots.append(branch)
        else:
            nodes[parent][1].children.append(branch)
    if lost:
        tree.notes.append(
            f"{count_of(lost, 'node')} under the root now: the parent is not in the file."
        )
    reached = 0
    waiting = list(roots)
    while waiting:
        reached += 1
        waiting += waiting.pop().children
    if reached < len(nodes):
        raise wrong(
            count_of(
                len(nodes) - reached, "node is its own parent", "nodes are each other's parents"
            )
            + "."
        )
    return roots


def grown(tree: ImportedTree) -> Changes:
    """The rows of a new loom."""
    changes = Changes()
    next_node, head, empty = ROOT + 1, ROOT, 0
    left = OmittedFields()
    waiting = [(branch, ROOT) for branch in reversed(tree.roots)]
    while waiting:
        branch, parent = waiting.pop()
        slices: list[PieceSlice] = []
        for piece in branch.pieces:
            number = len(changes.pieces) + 1
            changes.pieces[number] = replace(piece, id=number)
            slices.append(PieceSlice(number, 0, len(piece.data)))
        id = parent
        if slices:
            id, next_node = next_node, next_node + 1
            changes.nodes[id] = LoomNode(id, parent, tuple(slices))
            _note(changes, id, branch, tree.format, left)
        elif branch.extra and parent == ROOT and len(tree.roots) == 1:
            tree.extra["root"] = branch.extra
        else:
            empty += 1
        if branch.key == tree.head:
            head = id
        waiting += ((child, id) for child in reversed(branch.children))
    if tree.head is None:
        head = _newest(changes)
    if empty:
        tree.notes.append(f"{count_of(empty, 'node')} without text left out.")
    if extra := kept(tree.extra, left):
        changes.extras[ROOT] = json_text({tree.format: extra})
    tree.notes += left.notes()
    changes.meta = {"rules": rules_text(WeaveSettings()), "head": head, "next_node": next_node}
    if tree.prefix:
        changes.meta["prefix"] = tree.prefix
    return changes


def _note(
    changes: Changes, id: int, branch: ImportedNode, format: str, left: OmittedFields
) -> None:
    """Marks, sight and other fields of a node."""
    if branch.marks != Marks():
        changes.marks[id] = branch.marks
    if branch.folded or branch.unread:
        changes.sight[id] = branch.folded, branch.unread
    if extra := kept(branch.extra, left):
        changes.extras[id] = json_text({format: extra})


def _newest(changes: Changes) -> int:
    """The leaf at the end of the newest children."""
    last: dict[int, int] = {}
    for id, node in changes.nodes.items():
        if node is not None:
            last[node.parent] = id
    at = ROOT
    while at in last:
        at = last[at]
    return at


DEEPEST = 32
"""Levels of lists and objects: no program's settings have so many."""
_NAMES = re.compile(
    r"api[_-]?key|(api|access|auth|bearer|secret|client)[_-]?(token|secret|key)\b|password|passwd"
    r"|authorization|credential",
    re.IGNORECASE,
)


@dataclass(slots=True)
class OmittedFields:
    """How much was not kept."""

    secrets: int = 0
    """Keys and passwords: they never go from another program's file into a loom."""
    odd: int = 0
    """Numbers that are none, and what is nested too deep."""

    def notes(self) -> list[str]:
        """In words for the person."""
        sentences = []
        if self.secrets:
            sentences.append(f"Keys or passwords were left out: {self.secrets:,}.")
        if self.odd:
            sentences.append(
                f"Of unknown fields, values that no loom can hold were left out: {self.odd:,}."
            )
        return sentences


def kept(value: Any, left: OmittedFields, level: int = 0) -> Any:
    """A JSON value less every field whose name speaks of a key; what cannot be kept is null."""
    if isinstance(value, UnusableNumber) or (level > DEEPEST and isinstance(value, dict | list)):
        left.odd += 1
        return None
    if isinstance(value, dict):
        secret = {name for name in value if _NAMES.search(name)}
        left.secrets += len(secret)
        return {
            name: kept(member, left, level + 1)
            for name, member in value.items()
            if name not in secret
        }
    if isinstance(value, list):
        return [kept(member, left, level + 1) for member in value]
    return value
