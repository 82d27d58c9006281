"""Breadth-first search in the order of LLooM: all beams of one length, then all a token longer.

LLooM overshoots its beam limit, cuts branches short at it, and what it finds hangs on which reply
came first. None of that is kept: where more beams of a level would go on than the limit has room
for, the most probable of them do, to their ends. Below the limit both find the same suggestions.
Pure, as the best-first search beside it.
"""

from __future__ import annotations

import math

from llterm.core.beams import Beam, KnownDistributions, likeliest_first
from llterm.core.tokens import Tail


class Breadth:
    """At most N suggestions after one beam, found level after level. As `Search` to its owner."""

    def __init__(self, terrain: KnownDistributions, root: Beam) -> None:
        self.terrain = terrain
        self.root = root
        self._level: list[Beam] = [root]
        """Beams of one length, most probable first."""
        self._pending: set[Tail] = set()
        self._waiting: dict[Tail, Beam] = {}
        """Those of the level whose distribution is not known and not asked for."""
        self._refused: list[Beam] = []
        self._finished: list[Beam] = []
        self.banned: list[Beam] = []
        """What would have gone on if nothing forbade it."""
        self._lines = 0
        self._left = -math.inf
        """Joint logprob of the best beam that the limit left out."""
        self._advance()

    @property
    def goal(self) -> int:
        """How many suggestions there may be."""
        return self.terrain.rules.goal

    @property
    def full(self) -> bool:
        """Whether the limit left something out."""
        return self._left > -math.inf

    @property
    def finished(self) -> list[Beam]:
        """At most N finished beams, most probable first, ties by token ids."""
        return sorted(self._finished, key=likeliest_first)

    @property
    def open(self) -> list[Beam]:
        """Beams that have not ended, most probable first."""
        return sorted([*self._level, *self._refused], key=likeliest_first)

    @property
    def contenders(self) -> list[Beam]:
        """Beams, ended or not, that are among the suggestions or may be."""
        return [*self._finished, *self.open]

    @property
    def best_open(self) -> float:
        """Joint logprob that nothing unseen exceeds, what was left out among it."""
        return max([self._left, *(beam.logprob for beam in self.open)])

    @property
    def done(self) -> bool:
        return not self._level

    def wants(self, room: int, lines: int = 0, abreast: int = 1) -> list[Beam]:
        """Up to `room` beams of the present level: pending until learned or released.

        With `lines`, the most positions that an answer goes on for, each answer does so: the first
        choice always goes on. A level is asked for whole, whatever is best `abreast`.
        """
        self._lines = lines
        chosen = list(self._waiting.values())[:room]
        for beam in chosen:
            del self._waiting[beam.tail]
            self._pending.add(beam.tail)
        return chosen

    def ahead(self, beam: Beam) -> int:
        """How many positions further the answer to this question is wanted."""
        if self.terrain.mask(beam) is not None:
            return 0
        return max(min(self._lines, self.terrain.rules.depth - beam.depth - 1), 0)

    def learned(self, tail: Tail) -> bool:
        """The distribution after `tail` is known now. False: no line was waited for."""
        if tail in self._pending or tail in self._waiting:
            self._pending.discard(tail)
            self._waiting.pop(tail, None)
            self._advance()
        return False

    def release(self, tail: Tail) -> bool:
        """The query was cancelled or failed: the beam is open again. False: it was not pending."""
        if tail not in self._pending:
            return False
        self._pending.discard(tail)
        self._wait()
        return True

    def let_go(self) -> int:
        """Nothing is under way any more: open all that was asked for; how many it were."""
        count = len(self._pending)
        self._pending.clear()
        self._wait()
        return count

    def refuse(self, tail: Tail) -> None:
        """The source cannot answer this one: it stays open, and the others go on without it."""
        if tail in self._pending:
            self._pending.discard(tail)
            self._refused += [beam for beam in self._level if beam.tail == tail]
            self._level = [beam for beam in self._level if beam.tail != tail]
            self._advance()

    def _wait(self) -> None:
        """Beams of the level that somebody must ask about, in the level's order."""
        self._waiting = {
            beam.tail: beam
            for beam in self._level
            if beam.tail not in self._pending and self.terrain.known(beam) is None
        }

    def _advance(self) -> None:
        """Go from level to level while all of one are known."""
        while self._level:
            if self._pending:
                return
            self._wait()
            if self._waiting:
                return
            self._level = self._next()

    def _next(self) -> list[Beam]:
        """The beams a token longer. Finished ones keep their places; the rest is for the best."""
        children: list[Beam] = []
        for beam in self._level:
            distribution = self.terrain.known(beam)
            assert distribution is not None
            for child in self.terrain.children(beam, distribution):
                (self.banned if child.banned else children).append(child)
        children.sort(key=likeliest_first)
        room = self.goal - len(self._finished) - len(self._refused)
        if children[room:]:
            self._left = max(self._left, children[room].logprob)
        children = children[:room]
        self._finished += [child for child in children if child.finish != "open"]
        return [child for child in children if child.finish == "open"]
