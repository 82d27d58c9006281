"""A loom: the tree of nodes that a story is a path of. Fork, never overwrite.

Nodes are rows that refer to slices of pieces, and pieces don't change once their burst is over: an
edit in the middle makes a new branch of slices, and costs no copy of the text.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from llterm.core.tokens import Tail

ROOT = 1
PERSON = "person"


@dataclass(frozen=True, slots=True)
class Piece:
    """Text as it was made, by one author at one moment."""

    id: int
    data: bytes
    author: str = PERSON
    """`person`, or the model's name."""
    created: float = 0.0
    """Seconds since 1970."""
    ids: Tail | None = None
    """The model's tokens; None for the person's text."""
    sizes: Tail = ()
    """Bytes of each token, the overlap's included."""
    overlap: int = 0
    """How many bytes before the piece its first tokens re-encode (token healing)."""
    fingerprint: str = ""
    """Of the vocabulary that the ids belong to."""
    logprobs: tuple[float, ...] = ()
    birth: str = ""
    """JSON: the settings it was made with, and the alternatives at each token."""


@dataclass(frozen=True, slots=True)
class Node:
    """A slice of a piece under a parent node."""

    id: int
    parent: int
    piece: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of the story by one author, in whole tokens where a model made it."""

    data: bytes
    ids: Tail | None = None
    fingerprint: str | None = None
    overlap: int = 0


@dataclass(slots=True)
class Loom:
    """Nodes, pieces, and the head. Every change of a node goes through `put`."""

    nodes: dict[int, Node] = field(default_factory=dict)
    pieces: dict[int, Piece] = field(default_factory=dict)
    head: int = ROOT
    children: dict[int, list[int]] = field(default_factory=dict)
    """Child ids of a node, oldest first."""

    def put(self, id: int, node: Node | None) -> Node | None:
        """Set or remove (None) a node; the one that stood there before."""
        before = self.nodes.pop(id, None)
        if before is not None:
            self.children[before.parent].remove(id)
        if node is not None:
            self.nodes[id] = node
            insort(self.children.setdefault(node.parent, []), id)
        return before

    def path(self, node: int | None = None) -> list[Node]:
        """The nodes from under the root to this one, or to the head."""
        found: list[Node] = []
        at = self.head if node is None else node
        while at != ROOT:
            found.append(self.nodes[at])
            at = found[-1].parent
        return found[::-1]

    def data(self, node: Node) -> bytes:
        """A node's own text."""
        return self.pieces[node.piece].data[node.start : node.stop]

    def check(self) -> None:
        """Raise ValueError where this is no tree, or a node has no text: the file was damaged."""
        for node in self.nodes.values():
            piece = self.pieces.get(node.piece)
            if piece is None or not 0 <= node.start < node.stop <= len(piece.data):
                raise ValueError(f"node {node.id} has no text")
        rooted = {ROOT}
        for id in (*self.nodes, self.head):
            seen: set[int] = set()
            while id not in rooted:
                if id in seen or id not in self.nodes:
                    raise ValueError(f"node {id} does not hang under the root")
                seen.add(id)
                id = self.nodes[id].parent
            rooted |= seen

    def deepest(self, node: int) -> int:
        """From a node on along the newest children to a leaf."""
        while below := self.children.get(node):
            node = below[-1]
        return node

    def runs(self, node: Node, size: int) -> Iterator[Run]:
        """The first `size` bytes of a node as runs; a model's text in whole tokens where it can."""
        piece = self.pieces[node.piece]
        start, stop = node.start, node.start + size
        if piece.ids is None:
            if stop > start:
                yield Run(piece.data[start:stop])
            return
        if start == 0 and stop == len(piece.data):
            yield Run(piece.data, piece.ids, piece.fingerprint, piece.overlap)
            return
        edges = _edges(piece)
        # A token without text that stands at a cut belongs to the left part alone.
        first = 0 if start == 0 else bisect_left(edges, start)
        if start and first < len(edges) and edges[first] == start:
            first = bisect_right(edges, start) - 1
        last = bisect_right(edges, stop) - 1
        if last <= first:
            if stop > start:
                yield Run(piece.data[start:stop])
            return
        begin = max(edges[first], 0)
        if begin > start:
            yield Run(piece.data[start:begin])
        ids = piece.ids[first:last]
        overlap = piece.overlap if first == 0 else 0
        yield Run(piece.data[begin : edges[last]], ids, piece.fingerprint, overlap)
        if stop > edges[last]:
            yield Run(piece.data[edges[last] : stop])


def _edges(piece: Piece) -> list[int]:
    """Where tokens begin in the piece's bytes, and the end; negative within the overlap."""
    edges = [-piece.overlap]
    for size in piece.sizes:
        edges.append(edges[-1] + size)
    return edges
