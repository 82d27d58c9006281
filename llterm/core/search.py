"""Best-first search for the N most probable suggestions under the rules. Pure: it asks, it is told.

Path probability never rises with length, so once N finished beams are at least as probable as every
beam still open, they are exactly the N most probable, whatever order the answers came in.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right, insort
from collections.abc import Iterator
from itertools import chain, islice
from operator import itemgetter

from llterm.core.beams import Beam, KnownDistributions, likeliest_first
from llterm.core.lines_ahead import LinesAhead
from llterm.core.tokens import Tail

AT_ONCE = 16
"""Children made at a time; the others wait as one entry until the best of them is due."""
DIVE_SHARE = 4
"""One in this many places of a batch goes to the deepest open beams: suggestions appear early."""
USUAL = 1.0
"""What a first choice costs in nats, as a rule: how far a line stays above the last suggestion."""

_Ready = tuple[float, Tail, Beam]
"""A beam to follow, by −logprob and tail."""


class Search:
    """The N most probable suggestions after one beam."""

    def __init__(self, terrain: KnownDistributions, root: Beam) -> None:
        self.terrain = terrain
        self.root = root
        self._open: dict[Tail, Beam] = {}
        self._pending: dict[Tail, Beam] = {}
        self._refused: dict[Tail, Beam] = {}
        self._due: dict[Tail, Iterator[Beam]] = {}
        """Children not made yet, by the tail of the best of them; they stand in `_best` by it."""
        self._best: list[tuple[float, Tail]] = []
        self._deepest: list[tuple[int, float, Tail]] = []
        self._finished: list[tuple[float, Tail, Beam]] = []
        """In order, the least probable first."""
        self._lines = LinesAhead()
        self._ends = 0
        self._lengths = 0
        """How many beams have finished, and how many tokens they have together."""
        self.banned: list[Beam] = []
        """What would have gone on if nothing forbade it."""
        self._expand(root)

    @property
    def goal(self) -> int:
        """How many suggestions the search is after."""
        return self.terrain.rules.goal

    @property
    def full(self) -> bool:
        """Whether a larger limit might find more."""
        return len(self._finished) >= self.goal

    @property
    def finished(self) -> list[Beam]:
        """At most N finished beams, most probable first, ties by token ids."""
        return sorted((beam for *_, beam in self._finished), key=likeliest_first)[: self.goal]

    @property
    def contenders(self) -> list[Beam]:
        """Beams, ended or not, that are among the best N or, as far as is in doubt, may be."""
        beams = [*(beam for *_, beam in self._finished), *self.open]
        doubt = self.terrain.doubt
        if doubt is None or not self.full:
            return beams
        least = self._finished[-self.goal][0]
        return [beam for beam in beams if beam.logprob + doubt.of(beam) >= least]

    @property
    def open(self) -> list[Beam]:
        """Beams that could still matter, most probable first."""
        floor = self._floor()
        beams = [*self._open.values(), *self._pending.values(), *self._refused.values()]
        return sorted((beam for beam in beams if beam.logprob >= floor), key=likeliest_first)

    @property
    def best_open(self) -> float:
        """Joint logprob that nothing unseen exceeds; −inf when nothing is open."""
        while self._best and self._best[0][1] not in self._open:
            if self._best[0][1] in self._due and -self._best[0][0] >= self._floor():
                break
            heapq.heappop(self._best)
        waiting = (*self._pending.values(), *self._refused.values())
        best = [-self._best[0][0]] if self._best else []
        return max([*best, *(beam.logprob for beam in waiting)], default=-math.inf)

    @property
    def done(self) -> bool:
        best = self.best_open
        return best == -math.inf or best < self._floor()

    def wants(self, room: int, lines: int = 0, abreast: int = 1) -> list[Beam]:
        """Up to `room` open beams worth evaluating now: pending until learned or released.

        With `lines`, the most positions that an answer goes on for, questions are dear: only beams
        that no order of the answers can spare are chosen, and the next best go along with them
        until there are `abreast` under way.
        """
        chosen: list[Beam] = []
        if lines:
            while len(chosen) < room and (beam := self._next_best(needed=True)):
                chosen.append(beam)
            if chosen:
                room = min(room, len(chosen) + abreast - len(self._pending))
                while len(chosen) < room and (beam := self._next_best()):
                    chosen.append(beam)
            for beam in chosen:
                self._lines.begin(beam.tail, self._useful(beam, lines))
            return chosen
        dives = room // DIVE_SHARE
        while len(chosen) < room - dives and (beam := self._next_best()):
            chosen.append(beam)
        while len(chosen) < room and (beam := self._next_deepest()):
            chosen.append(beam)
        return chosen

    def ahead(self, beam: Beam) -> int:
        """How many positions further the answer to this question is wanted."""
        return self._lines.ahead(beam.tail)

    def learned(self, tail: Tail) -> bool:
        """The distribution after `tail` is known now. True: a line brought it."""
        promised = self._lines.promised(tail)
        beam = self._pending.pop(tail, None) or self._open.pop(tail, None)
        if beam is not None:
            self._expand(beam)
            self._go_on(beam)
        return promised

    def release(self, tail: Tail) -> bool:
        """The query was cancelled or failed: the beam is open again. False: it was not pending."""
        tip = self._lines.end(tail)
        if tip is not None and (promised := self._pending.pop(tip, None)) is not None:
            self._push(promised)
        beam = self._pending.pop(tail, None)
        if beam is not None:
            self._push(beam)
        return beam is not None

    def let_go(self) -> int:
        """Nothing is under way any more: open all that was asked for; how many it were."""
        count = len(self._pending)
        for tail in list(self._pending):
            self.release(tail)
        return count

    def refuse(self, tail: Tail) -> None:
        """The source cannot answer this one: it stays open and is not asked for again."""
        self._lines.leave(tail)
        beam = self._pending.pop(tail, None)
        if beam is not None:
            self._refused[tail] = beam

    def _floor(self) -> float:
        """What a beam must reach to matter: the Nth finished one's logprob once there are N, less
        what is in doubt."""
        if len(self._finished) < self.goal:
            return -math.inf
        doubt = self.terrain.doubt
        return self._finished[-self.goal][0] - (doubt.path if doubt is not None else 0.0)

    def _push(self, beam: Beam) -> None:
        self._open[beam.tail] = beam
        heapq.heappush(self._best, (-beam.logprob, beam.tail))
        heapq.heappush(self._deepest, (-len(beam.tail), -beam.logprob, beam.tail))

    def _needed(self, beam: Beam) -> bool:
        """Whether it is sure that fewer than N suggestions are more probable than this beam.

        Of a beam o under way at most p(o) / p(beam) suggestions are: their probabilities add up
        to p(o) at most.
        """
        above = bisect_right(self._finished, beam.logprob, key=itemgetter(0))
        room = self.goal - (len(self._finished) - above)
        for other in self._pending.values():
            if room <= 0:
                break
            room -= int(math.exp(min(max(other.logprob - beam.logprob, 0.0), 50.0)) + 1e-9)
        return room > 0

    def _useful(self, beam: Beam, most: int) -> int:
        """How far the line of first choices after this beam will probably be looked at."""
        if self.terrain.mask(beam) is not None:
            return 0
        most = min(most, self.terrain.rules.depth - beam.depth - 1)
        if self._ends:
            # As far as suggestions go that have ended so far.
            most = min(most, max(round(self._lengths / self._ends) - beam.depth, 1))
        above = beam.logprob - self._floor()
        return most if math.isinf(above) else max(min(most, int(above / USUAL)), 0)

    def _go_on(self, beam: Beam) -> None:
        """The answer for `beam` is here: the first choice after it is pending, if it is to come."""
        if not self._lines.ahead(beam.tail):
            self._lines.leave(beam.tail)
            return
        following = (*beam.tail, int(self.terrain.facts[beam.tail].ids[0]))
        child = self._open.pop(following, None)
        if child is None:
            self._lines.leave(beam.tail)
            return
        self._pending[following] = child
        self._lines.passed(beam.tail, following)

    def _next_best(self, *, needed: bool = False) -> Beam | None:
        floor = self._floor()
        while self._best and -self._best[0][0] >= floor:
            item = heapq.heappop(self._best)
            tail = item[1]
            if needed and tail in self._open and not self._needed(self._open[tail]):
                heapq.heappush(self._best, item)
                return None
            if (due := self._due.pop(tail, None)) is not None:
                ready: list[_Ready] = []
                self._make(due, ready)
                self._follow(ready)
                floor = self._floor()
                continue
            beam = self._open.pop(tail, None)
            if beam is not None:
                self._pending[beam.tail] = beam
                return beam
        return None

    def _next_deepest(self) -> Beam | None:
        floor = self._floor()
        while self._deepest:
            tail = heapq.heappop(self._deepest)[2]
            beam = self._open.get(tail)
            if beam is not None and beam.logprob >= floor:
                self._pending[tail] = self._open.pop(tail)
                return beam
        return None

    def _expand(self, beam: Beam) -> None:
        self._follow([(-beam.logprob, beam.tail, beam)])

    def _follow(self, ready: list[_Ready]) -> None:
        """Follow what is known from these beams on, best first; push what is not known."""
        while ready:
            beam = heapq.heappop(ready)[2]
            if beam.logprob < self._floor():
                return
            distribution = self.terrain.known(beam)
            if distribution is None:
                self._push(beam)
                continue
            self._make(self.terrain.children(beam, distribution), ready)

    def _make(self, children: Iterator[Beam], ready: list[_Ready]) -> None:
        """Take the next few children; the rest are due when the best of them is."""
        for child in islice(children, AT_ONCE):
            if child.banned:
                self.banned.append(child)
            elif child.finish == "open":
                heapq.heappush(ready, (-child.logprob, child.tail, child))
            else:
                self._finish(child)
        if (best := next(children, None)) is not None:
            self._due[best.tail] = chain((best,), children)
            heapq.heappush(self._best, (-best.logprob, best.tail))

    def _finish(self, beam: Beam) -> None:
        self._ends += 1
        self._lengths += beam.depth
        # Negated ids put the larger of two equally probable tails first, the one to give way.
        item = (beam.logprob, tuple(-id for id in beam.tail), beam)
        insort(self._finished, item)
        while len(self._finished) > self.goal and self._finished[0][0] <= self._floor():
            del self._finished[0]
