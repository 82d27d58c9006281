"""A loom: the tree of nodes that a story is a path of. Fork, never overwrite.

Nodes are rows that refer to slices of pieces, and pieces don't change once their burst is over: an
edit in the middle makes a new branch of slices, and costs no copy of the text. What is deleted
hangs in the bin, so that nothing written is ever gone.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from llterm.core.pieces import PERSON, Piece, Pieces, Run, TokenSpan, runs, spans

__all__ = [
    "BIN",
    "PERSON",
    "ROOT",
    "LoomNode",
    "LoomTree",
    "Marks",
    "Piece",
    "PieceSlice",
    "Run",
    "Sight",
]

ROOT = 1
BIN = 0
"""Beside the root: the parent of deleted branches."""
MOST_BYTES = 4
"""Of a character."""


class PieceSlice(NamedTuple):
    """Bytes of a piece."""

    piece: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start


class LoomNode(NamedTuple):
    """Text under a parent node: one slice, or several where nodes were merged."""

    id: int
    parent: int
    slices: tuple[PieceSlice, ...]

    @property
    def size(self) -> int:
        return sum(stop - start for _, start, stop in self.slices)

    @property
    def piece(self) -> int:
        """Where its text begins."""
        return self.slices[0].piece

    def under(self, parent: int) -> LoomNode:
        return LoomNode(self.id, parent, self.slices)

    def holding(self, slices: tuple[PieceSlice, ...]) -> LoomNode:
        return LoomNode(self.id, self.parent, slices)


def cut(
    slices: tuple[PieceSlice, ...], size: int
) -> tuple[tuple[PieceSlice, ...], tuple[PieceSlice, ...]]:
    """The first `size` bytes of some slices, and the rest."""
    left: list[PieceSlice] = []
    for index, part in enumerate(slices):
        if size < part.size:
            middle = part.start + size
            right = (PieceSlice(part.piece, middle, part.stop), *slices[index + 1 :])
            return (*left, *((PieceSlice(part.piece, part.start, middle),) if size else ())), right
        left.append(part)
        size -= part.size
    return tuple(left), ()


def joined(left: tuple[PieceSlice, ...], right: tuple[PieceSlice, ...]) -> tuple[PieceSlice, ...]:
    """Slices one after the other; what was one piece before a cut is one slice again."""
    if left and right and left[-1].piece == right[0].piece and left[-1].stop == right[0].start:
        seam = PieceSlice(left[-1].piece, left[-1].start, right[0].stop)
        return (*left[:-1], seam, *right[1:])
    return left + right


@dataclass(frozen=True, slots=True)
class Marks:
    """What the person noted on a node."""

    bookmark: bool = False
    rating: int = 0
    """1 to 5; 0 is none."""
    tags: tuple[str, ...] = ()
    note: str = ""
    order: str = ""
    """How the node's children are sorted (`core.tree_outline.ORDERS`); empty: oldest first."""

    def with_those_of(self, other: Marks) -> Marks:
        """Both together, for a node that takes over another."""
        return Marks(
            bookmark=self.bookmark or other.bookmark,
            rating=self.rating or other.rating,
            tags=tuple(dict.fromkeys(self.tags + other.tags)),
            note="\n".join(filter(None, (self.note, other.note))),
            order=other.order,
        )


@dataclass(slots=True)
class Sight:
    """How the tree is looked at; kept with the loom, and no part of its history."""

    folded: set[int] = field(default_factory=set)
    """Nodes whose children are hidden."""
    unread: set[int] = field(default_factory=set)
    hoisted: int = ROOT
    """The node that is shown as the root."""

    def note(self, id: int, *, folded: bool, unread: bool) -> None:
        """How a node is looked at."""
        for nodes, is_so in ((self.folded, folded), (self.unread, unread)):
            (nodes.add if is_so else nodes.discard)(id)


@dataclass(slots=True)
class LoomTree:
    """Nodes, pieces, marks, and the head. Every change of a node goes through `put`."""

    nodes: dict[int, LoomNode] = field(default_factory=dict)
    pieces: Pieces = field(default_factory=Pieces)
    head: int = ROOT
    children: dict[int, list[int]] = field(default_factory=dict)
    """Child ids of a node, oldest first."""
    marks: dict[int, Marks] = field(default_factory=dict)
    """Of the nodes that have any, and of the root."""
    sight: Sight = field(default_factory=Sight)

    def put(self, id: int, node: LoomNode | None) -> LoomNode | None:
        """Set or remove (None) a node; the one that stood there before."""
        before = self.nodes.pop(id, None)
        if before is not None:
            self.children[before.parent].remove(id)
        if node is not None:
            self.nodes[id] = node
            insort(self.children.setdefault(node.parent, []), id)
        return before

    def fill(self, nodes: dict[int, LoomNode]) -> None:
        """Take over a whole tree, whose ids ascend."""
        self.nodes = nodes
        children = self.children = {}
        for node in nodes.values():
            children.setdefault(node.parent, []).append(node.id)

    def become(self, other: LoomTree) -> None:
        """Be as another one is, which is no more used then."""
        self.nodes, self.pieces, self.head = other.nodes, other.pieces, other.head
        self.children, self.marks, self.sight = other.children, other.marks, other.sight

    def mark(self, id: int, marks: Marks) -> Marks:
        """Set what is noted on a node; what was noted before."""
        before = self.marks.pop(id, Marks())
        if marks != Marks():
            self.marks[id] = marks
        return before

    def path(self, node: int | None = None) -> list[LoomNode]:
        """The nodes from under the root to this one, or to the head."""
        upwards: list[LoomNode] = []
        at = self.head if node is None else node
        while at > ROOT:
            upwards.append(self.nodes[at])
            at = upwards[-1].parent
        return upwards[::-1]

    def holds(self, id: int) -> bool:
        """Whether this is a node of the tree, or the root; not one that was deleted."""
        while id in self.nodes:
            id = self.nodes[id].parent
        return id == ROOT

    def data(self, node: LoomNode) -> bytes:
        """A node's own text."""
        texts = self.pieces.texts
        if len(node.slices) == 1:
            piece, start, stop = node.slices[0]
            return texts[piece][start:stop]
        return b"".join(texts[piece][start:stop] for piece, start, stop in node.slices)

    def text(self, id: int | None = None) -> bytes:
        """The text from the root to the end of a node, or of the head."""
        return b"".join(map(self.data, self.path(id)))

    def end_of(self, id: int) -> bytes:
        """The last bytes of the text from the root to the end of a node: those of a character."""
        ending = b""
        while len(ending) < MOST_BYTES and id > ROOT:
            node = self.nodes[id]
            ending = self.data(node)[-MOST_BYTES:] + ending
            id = node.parent
        return ending[-MOST_BYTES:]

    def check(self) -> None:
        """Raise ValueError where this is no tree, or a node has no text: the file was damaged."""
        texts = self.pieces.texts
        for node in self.nodes.values():
            for piece, start, stop in node.slices:
                if piece not in texts or not 0 <= start < stop <= len(texts[piece]):
                    raise ValueError(f"node {node.id} has no text")
            if not node.slices or node.id <= ROOT:
                raise ValueError(f"node {node.id} has no text")
        self.check_hung((*self.nodes, self.head))
        if not self.holds(self.head):
            raise ValueError(f"the story ends in node {self.head}, which was deleted")

    def check_hung(self, ids: Iterable[int]) -> None:
        """Raise ValueError where one of these hangs neither under the root nor in the bin."""
        rooted = {ROOT, BIN}
        for id in ids:
            seen: set[int] = set()
            while id not in rooted:
                if id in seen or id not in self.nodes:
                    raise ValueError(f"node {id} does not hang under the root")
                seen.add(id)
                id = self.nodes[id].parent
            rooted |= seen

    def deepest(self, node: int) -> int:
        """From a node on along the newest children, as far as somebody has read them."""
        unread = self.sight.unread
        while below := [one for one in self.children.get(node, ()) if one not in unread]:
            node = below[-1]
        return node

    def below(self, id: int) -> Iterator[int]:
        """A node and all under it, parents first."""
        waiting = [id]
        while waiting:
            at = waiting.pop()
            yield at
            waiting += reversed(self.children.get(at, ()))

    def runs(self, node: LoomNode, size: int | None = None) -> Iterator[Run]:
        """The first `size` bytes of a node as runs; a model's text in whole tokens where it can."""
        slices = node.slices if size is None else cut(node.slices, size)[0]
        for piece, start, stop in slices:
            yield from runs(self.pieces[piece], start, stop)

    def runs_before(self, size: int, id: int | None = None) -> list[Run]:
        """The first `size` bytes of the story, or of the path to a node, as runs."""
        path, before = self.path(id), list[Run]()
        self.pieces.fetch(piece.piece for node in path for piece in node.slices)
        for node in path:
            if size <= 0:
                break
            before += self.runs(node, min(size, node.size))
            size -= node.size
        return before

    def runs_to(self, id: int) -> list[Run]:
        """The path to the end of a node as runs."""
        return self.runs_before(sum(node.size for node in self.path(id)), id)

    def spans(self, node: LoomNode) -> Iterator[TokenSpan]:
        """A node's text token by token, with what each was at birth."""
        for piece, start, stop in node.slices:
            yield from spans(self.pieces[piece], start, stop)

    def logprob(self, id: int) -> float | None:
        """Joint natural log of a node's own tokens; None where no model made it whole."""
        total = 0.0
        for span in self.spans(self.nodes[id]):
            if span.logprob is None:
                return None
            total += span.logprob
        return total
