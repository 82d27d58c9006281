"""A loom as a person looks through it: rows of an outline, chunks of a path, search, order.

Everything is read from the tree as it is; nothing here changes it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from llterm.core.loom_tree import ROOT, LoomTree, Marks

ORDERS = ("time", "probability", "rating")
"""What children can be sorted by: oldest, most probable or best rated first."""


@dataclass(frozen=True, slots=True)
class OutlineRow:
    """A run of nodes without a fork in it, as one row of the outline."""

    ids: tuple[int, ...]
    depth: int
    """How many forks stand above."""
    branches: int
    """Children of the last node."""
    below: int
    """How many nodes hang below the last one, at any depth."""
    folded: bool
    """They are hidden."""
    untaken: int = 0
    """Further children, hidden because nobody has read them."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stretch of a path up to the next fork."""

    ids: tuple[int, ...]
    others: tuple[int, ...]
    """Children of the last node that the path does not take."""
    below: int
    """How many nodes hang below those others, themselves included."""


@dataclass(frozen=True, slots=True)
class PhraseHit:
    """A place where a phrase ends."""

    id: int
    """The node it ends in."""
    before: str
    phrase: str
    """As it stands there; it may begin in a node above."""
    after: str


def children(loom: LoomTree, id: int) -> list[int]:
    """A node's children, sorted as the person asked."""
    ids = list(loom.children.get(id, ()))
    order = loom.marks.get(id, Marks()).order
    if order == "rating":
        ids.sort(key=lambda child: -loom.marks.get(child, Marks()).rating)
    elif order == "probability":
        loom.pieces.fetch(part.piece for child in ids for part in loom.nodes[child].slices)
        logprobs = {child: loom.logprob(child) for child in ids}
        ids.sort(key=lambda child: -_or_last(logprobs[child]))
    return ids


def _or_last(logprob: float | None) -> float:
    return float("-inf") if logprob is None else logprob


class Outline:
    """The tree at one moment. Counting costs one walk over it; make a new one when it changed."""

    def __init__(self, loom: LoomTree) -> None:
        self._loom = loom
        self._below: dict[int, int] = {}
        for id in reversed(list(loom.below(ROOT))):
            below = loom.children.get(id, ())
            self._below[id] = len(below) + sum(self._below[one] for one in below)

    def below(self, id: int) -> int:
        """How many nodes hang below a node, at any depth."""
        return self._below[id]

    @property
    def root(self) -> int:
        """What is shown as the root: the hoisted node, where it is still there."""
        hoisted = self._loom.sight.hoisted
        return hoisted if hoisted in self._below else ROOT

    def rows(
        self, *, whole: bool = False, opened: Collection[int] | None = None
    ) -> Iterator[OutlineRow]:
        """The rows below the root that is shown, those under folded nodes left out.

        A row ends at a fork, before a bookmark, at a folded node, and where the story ends. With
        `whole`, the whole tree: nothing is folded, and nothing hoisted. With `opened`, unread
        children stay hidden but for those of these nodes, of the root, and on the story.
        """
        loom = self._loom
        folds = set() if whole else loom.sight.folded
        story = {node.id for node in loom.path()} if opened is not None else set()

        def hidden(id: int) -> list[int]:
            if opened is None or id in opened:
                return []
            unread = loom.sight.unread
            return [
                child
                for child in loom.children.get(id, ())
                if child in unread and child not in story
            ]

        waiting = [(child, 0) for child in reversed(children(loom, ROOT if whole else self.root))]
        while waiting:
            first, depth = waiting.pop()
            ids = [first]
            while not hidden(ids[-1]) and (following := self._alone(ids[-1], folds)) is not None:
                ids.append(following)
            last = ids[-1]
            away = set(hidden(last))
            below = [child for child in children(loom, last) if child not in away]
            folded = last in folds and bool(below)
            yield OutlineRow(tuple(ids), depth, len(below), self._below[last], folded, len(away))
            if not folded:
                deeper = depth + (len(below) > 1)
                waiting += ((child, deeper) for child in reversed(below))

    def chunks(self, id: int | None = None) -> list[Chunk]:
        """The path to a node, or the story, cut at its forks."""
        loom = self._loom
        chunks: list[Chunk] = []
        ids: list[int] = []
        path = [node.id for node in loom.path(id)]
        for place, node_id in enumerate(path):
            ids.append(node_id)
            following = path[place + 1] if place + 1 < len(path) else None
            others = tuple(other for other in children(loom, node_id) if other != following)
            if others or following is None:
                below = sum(self._below[other] + 1 for other in others)
                chunks.append(Chunk(tuple(ids), others, below))
                ids = []
        return chunks

    def bookmarks(self) -> list[int]:
        """The bookmarked nodes in the order of the outline, folded ones too."""
        marks = self._loom.marks
        return [id for id in _walk(self._loom) if id in marks and marks[id].bookmark]

    def _alone(self, id: int, folds: set[int]) -> int | None:
        """The node that stands in the same row after this one."""
        loom = self._loom
        below = loom.children.get(id, ())
        if len(below) != 1 or id == loom.head or id in folds:
            return None
        marks = loom.marks.get(below[0])
        return None if marks is not None and marks.bookmark else below[0]


def find(loom: LoomTree, phrase: str, *, context: int = 30) -> Iterator[PhraseHit]:
    """Every place of the tree where a phrase ends, in the order of the outline.

    Letters count the same in upper and lower case. A phrase may run over several nodes; it is found
    once for each place where its last letter stands.
    """
    wanted = _lower(phrase)
    if not wanted:
        return
    reach = 4 * (len(wanted) + context)
    tails: dict[int, bytes] = {ROOT: b""}
    for id in _walk(loom):
        node = loom.nodes[id]
        before, data = tails[node.parent], loom.data(node)
        if loom.children.get(id):
            tails[id] = (before[-reach:] + data)[-reach:]
        yield from _hits(id, before, data, wanted, context)


def _hits(id: int, before: bytes, data: bytes, wanted: str, context: int) -> Iterator[PhraseHit]:
    text = (before + data).decode("utf-8", "replace")
    lower = _lower(text)
    own = len(before.decode("utf-8", "replace"))
    at = lower.find(wanted, max(own - len(wanted) + 1, 0))
    while at >= 0:
        stop = at + len(wanted)
        if stop > own:
            yield PhraseHit(
                id, text[max(at - context, 0) : at], text[at:stop], text[stop : stop + context]
            )
        at = lower.find(wanted, at + 1)


def _walk(loom: LoomTree) -> Iterator[int]:
    """All nodes of the tree, parents first, siblings as they are sorted."""
    waiting = children(loom, ROOT)[::-1]
    while waiting:
        id = waiting.pop()
        yield id
        below = loom.children.get(id, ())
        waiting += below if len(below) < 2 else children(loom, id)[::-1]


def _lower(text: str) -> str:
    """In lower case, letter by letter: places stay where they are."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)
