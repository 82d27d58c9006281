"""A prefix tree over token paths: who holds the longest beginning of a text."""

from __future__ import annotations

from dataclasses import dataclass, field

from llterm.core.tokens import Tail, common


@dataclass(slots=True, eq=False)
class _Edge:
    """A stretch of tokens that all owners below it share."""

    tokens: Tail
    owners: set[int]
    """Whose path goes through it, to its end at least."""
    below: dict[int, _Edge] = field(default_factory=dict)
    """By first token."""
    ends: set[int] = field(default_factory=set)
    """Whose path ends with it."""


class PrefixTree:
    """Token paths by owner, one each; a beginning that several share is stored once."""

    def __init__(self) -> None:
        self._root = _Edge((), set())
        self._paths: dict[int, Tail] = {}

    def __len__(self) -> int:
        return len(self._paths)

    def path(self, owner: int) -> Tail:
        """What it holds; nothing where it is not here."""
        return self._paths.get(owner, ())

    def put(self, owner: int, path: Tail) -> None:
        """Let it hold this path, and no other."""
        self.remove(owner)
        self._paths[owner] = path
        edge, place = self._root, 0
        edge.owners.add(owner)
        while place < len(path):
            following = edge.below.get(path[place])
            if following is None:
                following = edge.below[path[place]] = _Edge(path[place:], set())
            else:
                same = common(following.tokens, path[place : place + len(following.tokens)])
                if same < len(following.tokens):
                    following = edge.below[path[place]] = _halved(following, same)
            following.owners.add(owner)
            edge, place = following, place + len(following.tokens)
        edge.ends.add(owner)

    def remove(self, owner: int) -> None:
        """It holds nothing any more."""
        path = self._paths.pop(owner, None)
        if path is None:
            return
        edge, place = self._root, 0
        edge.owners.discard(owner)
        while place < len(path):
            following = edge.below[path[place]]
            following.owners.discard(owner)
            if not following.owners:
                del edge.below[path[place]]
                return
            edge, place = following, place + len(following.tokens)
        edge.ends.discard(owner)

    def longest(self, path: Tail) -> tuple[int, frozenset[int]]:
        """How much of a path's beginning is held at the most, and by whom."""
        edge, place = self._root, 0
        while place < len(path):
            following = edge.below.get(path[place])
            if following is None:
                break
            same = common(following.tokens, path[place : place + len(following.tokens)])
            edge, place = following, place + same
            if same < len(following.tokens):
                break
        return place, frozenset(edge.owners) if place else frozenset()

    def longest_whole(self, path: Tail) -> tuple[int, frozenset[int]]:
        """The same, among owners whose whole path is a beginning of this one."""
        edge, place = self._root, 0
        best: tuple[int, frozenset[int]] = 0, frozenset()
        while place < len(path):
            following = edge.below.get(path[place])
            if following is None or path[place : place + len(following.tokens)] != following.tokens:
                break
            edge, place = following, place + len(following.tokens)
            if edge.ends:
                best = place, frozenset(edge.ends)
        return best


def _halved(edge: _Edge, size: int) -> _Edge:
    """The same in two stretches, the first of this size."""
    rest = _Edge(edge.tokens[size:], set(edge.owners), edge.below, edge.ends)
    return _Edge(edge.tokens[:size], set(edge.owners), {rest.tokens[0]: rest})
