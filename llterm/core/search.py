"""Best-first search for the N most probable suggestions under the rules. Pure: it asks, it is told.

Path probability never rises with length, so once N finished beams are at least as probable as every
beam still open, they are exactly the N most probable, whatever order the answers came in.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice

from llterm.core.bans import Bans
from llterm.core.constraint import Constrained
from llterm.core.distribution import Distribution, Mask
from llterm.core.healing import Healer
from llterm.core.lines import Lines
from llterm.core.rules import Rules
from llterm.core.stops import Stopper
from llterm.core.tokens import Tail, Vocabulary
from llterm.core.view import Finish, Step

KEEP = 64
"""Candidates listed a position, so that a later, looser rule finds them without asking again."""
WIDEST = 4096
"""Most candidates a position: what "no split limit" means on a larger vocabulary."""
AT_ONCE = 16
"""Children made at a time; the others wait as one entry until the best of them is due."""
CONSTRAINT = "constraint"
"""What a branch that the constraint forbids is said to be banned by."""
DIVE_SHARE = 4
"""One in this many places of a batch goes to the deepest open beams: suggestions appear early."""
USUAL = 1.0
"""What a first choice costs in nats, as a rule: how far a line stays above the last suggestion."""


@dataclass(slots=True, eq=False)
class Beam:
    """A partial or finished suggestion: one token after its parent beam."""

    parent: Beam | None
    tail: Tail
    step: Step | None
    """None only for the beam with an empty tail."""
    logprob: float
    """Joint, from the anchor."""
    depth: int
    """Tokens that count: those after the residue was written."""
    residue: bytes
    """What is still to be re-encoded."""
    data: bytes
    """Text the suggestion adds, so far."""
    shown: bytes
    """This token's share of `data`."""
    finish: Finish = "open"
    banned: str = ""
    """What forbids it, where something does."""
    _steps: tuple[Step, ...] = field(default=(), init=False)

    @property
    def steps(self) -> tuple[Step, ...]:
        """The tokens from the first to this one; kept, for a tree is drawn many times."""
        if not self._steps:
            steps: list[Step] = []
            beam: Beam | None = self
            while beam is not None and beam.step is not None:
                steps.append(beam.step)
                beam = beam.parent
            self._steps = tuple(reversed(steps))
        return self._steps


@dataclass(slots=True)
class Terrain:
    """What a search walks on: the known distributions and how to read them."""

    vocabulary: Vocabulary
    rules: Rules
    stopper: Stopper
    healer: Healer | None
    facts: Mapping[Tail, Distribution]
    constraint: Constrained | None = None
    """Not together with a residue."""
    bans: Bans = field(default_factory=Bans)
    before: bytes = b""
    """The end of the story: a banned phrase may begin there."""
    levels: dict[int, tuple[float, int]] = field(default_factory=dict)

    def mask(self, beam: Beam) -> Mask | None:
        """Which tokens may come next; None when all may."""
        if self.constraint is not None:
            return self.constraint.mask(beam.tail)
        return self.healer.mask(beam.residue) if self.healer and beam.residue else None

    @property
    def spelling(self) -> bool:
        """Whether all ways to spell a few texts are looked at, whatever the rules say."""
        return self.constraint is not None and bool(self.constraint.texts)

    def known(self, beam: Beam) -> Distribution | None:
        """The distribution after `beam`, if it lists enough candidates for the rules."""
        found = self.facts.get(beam.tail)
        if found is None or not found.exact or found.rest <= 0.0 or self.spelling:
            return found
        if self.bans and len(found.ids) < self._widest:
            return found if self._enough(beam, found) else None
        if len(found.ids) >= self.need(beam.depth):
            return found
        return found if float(found.logprobs[-1]) < self.least(beam.depth) else None

    def wanted(self, beam: Beam) -> int:
        """How many candidates to ask for: more than before where bans took too many of those."""
        if self.spelling and (mask := self.mask(beam)) is not None:
            return max(int(mask.allowed.sum()), min(KEEP, self.vocabulary.size))
        found = self.facts.get(beam.tail)
        keep = self.keep(beam.depth)
        return keep if found is None else min(max(keep, 4 * len(found.ids)), self._widest)

    @property
    def _widest(self) -> int:
        return min(self.vocabulary.size, WIDEST)

    def _enough(self, beam: Beam, found: Distribution) -> bool:
        """Whether all children are among the candidates listed, though bans take some of these."""
        free = sum(1 for child in self.children(beam, found) if not child.banned)
        limit = self.rules.split_limit or self._widest
        return free >= limit or (free > 0 and float(found.logprobs[-1]) < self.least(beam.depth))

    def least(self, depth: int) -> float:
        """Logprob that a second candidate needs."""
        return self._levels(depth)[0]

    def need(self, depth: int) -> int:
        """How many candidates a distribution must list so that none is missed."""
        return self._levels(depth)[1]

    def keep(self, depth: int) -> int:
        """How many candidates to ask for: some more than these rules need."""
        return max(self.need(depth), min(KEEP, self.vocabulary.size))

    def _levels(self, depth: int) -> tuple[float, int]:
        """`least` and `need` at this depth; asked for at every beam, so they are kept."""
        level = self.levels.get(depth)
        if level is None:
            least = self.rules.least(depth)
            level = self.levels[depth] = least, self._need(least)
        return level

    def _need(self, least: float) -> int:
        most = min(self.rules.split_limit or self._widest, self._widest)
        # So many candidates have this probability at most.
        return min(most, int(math.exp(-least)) + 1) if -least < math.log(most) else most

    def children(self, beam: Beam, found: Distribution) -> Iterator[Beam]:
        """The beams that go on from `beam`, most probable first, forbidden ones among them.

        The first candidate always goes on; others need the cutoff; at most `split_limit` do, and
        forbidden ones do not count. Where a mask holds, the probabilities are those given the
        allowed tokens; those of forbidden ones are the raw model's.
        """
        if self.spelling:
            yield from self.spelled(beam, found)
            return
        mask = self.mask(beam)
        scale = math.log(found.permitted) if mask is not None and found.permitted > 0 else 0.0
        least = self.least(beam.depth)
        limit = self.rules.split_limit or len(found.ids)
        banning = bool(self.bans)
        # Where nothing is forbidden the first `limit` are all that can go on.
        listed = len(found.ids) if mask is not None or banning else limit
        rank = forbidden = 0
        for id, raw in _listed(found, listed):
            masked = mask is not None and not mask.allowed[id]
            if masked and (self.constraint is None or forbidden >= limit or raw < least):
                continue
            logprob = raw if masked else min(raw - scale, 0.0)
            if not masked and (rank >= limit or (rank and logprob < least)):
                return
            child = self._child(beam, id, logprob, rank + 1, found.permitted)
            said: str | None = CONSTRAINT if masked else None
            if banning and not masked:
                said = self.bans.broken_by(self.before, beam.data, child.shown)
            if said is None:
                rank += 1
                yield child
            elif forbidden < limit and raw >= least:
                forbidden += 1
                child.finish, child.banned = "banned", said
                yield child

    def spelled(self, beam: Beam, found: Distribution) -> Iterator[Beam]:
        """The tokens that spell a text further, at the raw model's probabilities, and what a ban or
        the constraint forbids of that which the rules would look at."""
        mask = self.mask(beam)
        assert mask is not None
        least, rank = self.least(beam.depth), 0
        for number, (id, logprob) in enumerate(_listed(found, len(found.ids))):
            allowed = bool(mask.allowed[id]) and not self.vocabulary.token(id).end
            if not allowed and (number >= self.rules.split_limit or logprob < least):
                continue
            rank += allowed
            child = self._child(beam, id, logprob, rank + (not allowed), found.permitted)
            child.finish = "open"
            if not allowed:
                child.finish, child.banned = "banned", CONSTRAINT
            elif self.bans and (said := self.bans.broken_by(self.before, beam.data, child.shown)):
                child.finish, child.banned = "banned", said
            yield child

    def _child(self, beam: Beam, id: int, logprob: float, rank: int, permitted: float) -> Beam:
        token = self.vocabulary.token(id)
        written = b"" if token.special else token.data
        residue, shown = beam.residue, written
        if residue:
            residue, shown = residue[len(written) :], written[len(residue) :]
        child = Beam(
            parent=beam,
            tail=(*beam.tail, id),
            step=Step(id, token.data, logprob, rank, token.special, permitted),
            logprob=beam.logprob + logprob,
            depth=beam.depth + (not beam.residue),
            residue=residue,
            data=beam.data + shown,
            shown=shown,
        )
        if token.end:
            child.finish = "end"
        elif not residue and self.stopper.ended(child.data.decode("utf-8", "ignore")):
            child.finish = "stop"
        elif child.depth >= self.rules.depth:
            child.finish = "depth"
        return child


_Ready = tuple[float, Tail, Beam]
"""A beam to follow, by −logprob and tail."""


class Search:
    """The N most probable suggestions after one beam."""

    def __init__(self, terrain: Terrain, root: Beam) -> None:
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
        self._lines = Lines()
        self._ends = 0
        self._lengths = 0
        """How many beams have finished, and how many tokens they have together."""
        self._banned: list[Beam] = []
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
        return sorted((beam for *_, beam in self._finished), key=likeliest_first)

    @property
    def banned(self) -> list[Beam]:
        """What would have gone on if nothing forbade it."""
        return self._banned

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
        """What a beam must reach to matter: the Nth finished one's logprob once there are N."""
        return self._finished[0][0] if len(self._finished) >= self.goal else -math.inf

    def _push(self, beam: Beam) -> None:
        self._open[beam.tail] = beam
        heapq.heappush(self._best, (-beam.logprob, beam.tail))
        heapq.heappush(self._deepest, (-len(beam.tail), -beam.logprob, beam.tail))

    def _needed(self, beam: Beam) -> bool:
        """Whether it is sure that fewer than N suggestions are more probable than this beam.

        Of a beam o under way at most p(o) / p(beam) suggestions are: their probabilities add up
        to p(o) at most.
        """
        room = self.goal - sum(item[0] > beam.logprob for item in self._finished)
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
            found = self.terrain.known(beam)
            if found is None:
                self._push(beam)
                continue
            self._make(self.terrain.children(beam, found), ready)

    def _make(self, children: Iterator[Beam], ready: list[_Ready]) -> None:
        """Take the next few children; the rest are due when the best of them is."""
        for child in islice(children, AT_ONCE):
            if child.banned:
                self._banned.append(child)
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
        if len(self._finished) < self.goal:
            heapq.heappush(self._finished, item)
        else:
            heapq.heappushpop(self._finished, item)


def _listed(found: Distribution, count: int) -> Iterator[tuple[int, float]]:
    """The first candidates as numbers, some at a time: often only a few are looked at."""
    for start in range(0, min(count, len(found.ids)), KEEP):
        part = slice(start, min(start + KEEP, count))
        yield from zip(found.ids[part].tolist(), found.logprobs[part].tolist(), strict=True)


def likeliest_first(beam: Beam) -> tuple[float, Tail]:
    """Sorts beams; ties by token ids."""
    return -beam.logprob, beam.tail
