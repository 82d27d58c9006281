"""Beams, and how they go on: what the rules, a constraint and bans leave of a distribution."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from llterm.core.bans import Bans
from llterm.core.distribution import Constrained, Distribution, Mask
from llterm.core.healing import Healer
from llterm.core.stops import Stopper
from llterm.core.tokens import Tail, Vocabulary
from llterm.core.weave_settings import WeaveSettings

KEEP = 64
"""Candidates listed a position, so that a later, looser rule finds them without asking again."""
WIDEST = 4096
"""Most candidates a position: what "no split limit" means on a larger vocabulary."""
CONSTRAINT = "constraint"
"""What a branch that the constraint forbids is said to be banned by."""

Finish = Literal["stop", "depth", "end", "open", "choice", "banned"]
"""Why a suggestion ends: a stop, the depth, an end-of-text token; `choice` is one of the texts that
may be written; `open` has not ended yet;
`banned` may not stand, and is no suggestion."""


@dataclass(frozen=True, slots=True)
class Step:
    """One token of a suggestion, with its probability given what stands before it."""

    id: int
    data: bytes
    logprob: float
    rank: int
    """1 = the model's first choice (among the allowed ones, while healing)."""
    special: bool = False
    permitted: float = 1.0
    """Raw mass of what a mask allowed here; `logprob` is given that."""


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
    def ancestors(self) -> Iterator[Beam]:
        """The beams that it goes on from, the last one first."""
        beam = self.parent
        while beam is not None:
            yield beam
            beam = beam.parent

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


@dataclass(frozen=True, slots=True)
class Doubt:
    """How far logprobs may be off, in nats, that do not come of canonical distributions. What so
    little decides is looked at either way."""

    canonical: Collection[Tail]
    """Paths whose distributions are canonical."""
    step: float = 0.0
    """How far a candidate's logprob may be off."""
    path: float = 0.0
    """How far a path's joint logprob may be off."""

    def of(self, beam: Beam) -> float:
        """How far this beam's joint logprob may be off."""
        doubtful = sum(place.tail not in self.canonical for place in beam.ancestors)
        return min(doubtful * self.step, self.path)


@dataclass(slots=True)
class KnownDistributions:
    """What a search walks on: the known distributions and how to read them."""

    vocabulary: Vocabulary
    rules: WeaveSettings
    stopper: Stopper
    healer: Healer | None
    facts: Mapping[Tail, Distribution]
    constraint: Constrained | None = None
    """Not together with a residue."""
    bans: Bans = field(default_factory=Bans)
    before: bytes = b""
    """The end of the story: a banned phrase may begin there."""
    levels: dict[int, tuple[float, int]] = field(default_factory=dict)
    doubt: Doubt | None = None
    """None where nothing is in doubt."""

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
        distribution = self.facts.get(beam.tail)
        if (
            distribution is None
            or not distribution.exact
            or distribution.rest <= 0.0
            or self.spelling
        ):
            return distribution
        if self.bans and len(distribution.ids) < self._widest:
            return distribution if self._enough(beam, distribution) else None
        if len(distribution.ids) >= self.need(beam.depth):
            return distribution
        return distribution if float(distribution.logprobs[-1]) < self.least(beam.depth) else None

    def wanted(self, beam: Beam) -> int:
        """How many candidates to ask for: more than before where bans took too many of those."""
        if self.spelling and (mask := self.mask(beam)) is not None:
            return max(int(mask.allowed.sum()), min(KEEP, self.vocabulary.size))
        known = self.facts.get(beam.tail)
        keep = self.keep(beam.depth)
        return keep if known is None else min(max(keep, 4 * len(known.ids)), self._widest)

    @property
    def _widest(self) -> int:
        return min(self.vocabulary.size, WIDEST)

    def _enough(self, beam: Beam, distribution: Distribution) -> bool:
        """Whether all children are among the candidates listed, though bans take some of these."""
        free = sum(1 for child in self.children(beam, distribution) if not child.banned)
        limit = self.rules.split_limit or self._widest
        return free >= limit or (
            free > 0 and float(distribution.logprobs[-1]) < self.least(beam.depth)
        )

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

    def children(self, beam: Beam, distribution: Distribution) -> Iterator[Beam]:
        """The beams that go on from `beam`, most probable first, forbidden ones among them.

        The first candidate always goes on; others need the cutoff; at most `split_limit` do, and
        forbidden ones do not count. Where a mask holds, the probabilities are those given the
        allowed tokens; those of forbidden ones are the raw model's.
        """
        if self.spelling:
            yield from self.spelled(beam, distribution)
            return
        mask = self.mask(beam)
        scale = (
            math.log(distribution.permitted)
            if mask is not None and distribution.permitted > 0
            else 0.0
        )
        doubt = self.doubt
        off = 0.0 if doubt is None or beam.tail in doubt.canonical else doubt.step
        least = self.least(beam.depth)
        limit = self.rules.split_limit or len(distribution.ids)
        banning = bool(self.bans)
        # Where nothing is forbidden the first `limit` are all that can go on.
        listed = len(distribution.ids) if mask is not None or banning or off else limit
        rank = forbidden = 0
        first = last = 0.0
        for id, raw in _listed(distribution, listed):
            masked = mask is not None and not mask.allowed[id]
            if masked and (self.constraint is None or forbidden >= limit or raw < least):
                continue
            logprob = raw if masked else min(raw - scale, 0.0)
            if not masked and rank:
                late = rank >= limit and logprob <= last - off
                small = logprob < least - off and logprob <= first - off
                if late or small:
                    return
            child = self._child(beam, id, logprob, rank + 1, distribution.permitted)
            said: str | None = CONSTRAINT if masked else None
            if banning and not masked:
                said = self.bans.broken_by(self.before, beam.data, child.shown)
            if said is None:
                rank += 1
                first = logprob if rank == 1 else first
                last = logprob if rank <= limit else last
                yield child
            elif forbidden < limit and raw >= least:
                forbidden += 1
                child.finish, child.banned = "banned", said
                yield child

    def spelled(self, beam: Beam, distribution: Distribution) -> Iterator[Beam]:
        """The tokens that spell a text further, at the raw model's probabilities, and what a ban or
        the constraint forbids of that which the rules would look at."""
        mask = self.mask(beam)
        assert mask is not None
        least, rank = self.least(beam.depth), 0
        for number, (id, logprob) in enumerate(_listed(distribution, len(distribution.ids))):
            allowed = bool(mask.allowed[id]) and not self.vocabulary.token(id).end
            if not allowed and (number >= self.rules.split_limit or logprob < least):
                continue
            rank += allowed
            child = self._child(beam, id, logprob, rank + (not allowed), distribution.permitted)
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


def _listed(distribution: Distribution, count: int) -> Iterator[tuple[int, float]]:
    """The first candidates as numbers, some at a time: often only a few are looked at."""
    for start in range(0, min(count, len(distribution.ids)), KEEP):
        part = slice(start, min(start + KEEP, count))
        yield from zip(
            distribution.ids[part].tolist(), distribution.logprobs[part].tolist(), strict=True
        )


def likeliest_first(beam: Beam) -> tuple[float, Tail]:
    """Sorts beams; ties by token ids."""
    return -beam.logprob, beam.tail
