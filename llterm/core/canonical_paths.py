"""Which paths of a weave are read once more, for their canonical figures, and what it is then.

A quantised model's figures depend, in their second digit, on which paths stood side by side when
they were evaluated. A path's canonical figures are those that it has alone. To have them for
every path that was searched would cost as much as the search; but only the best N count, and what
comes so close to them that figures so uncertain cannot decide. So the best N are read first, which
tells how far the others may be off; then whatever comes as close as that, at the cutoffs too, until
nothing is left that counts and was not read. Pure: it asks, it is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from llterm.core.beams import Beam
from llterm.core.distribution import Distribution
from llterm.core.query import Fact, Query
from llterm.core.tokens import Tail
from llterm.core.weave_state import Weave


class CanonicalPaths:
    """The paths of one weave, which is not searched meanwhile."""

    def __init__(self, weave: Weave) -> None:
        self._woven = weave
        self._first = self._counting(weave)
        self._asked = set(weave.canonical)
        self._read: dict[Tail, Distribution] = {}

    def wants(self) -> list[Query]:
        """What to ask next, all of it; nothing where all that counts was read. What was asked for
        and not learned stays as it was."""
        step, path = self._off()
        weave = self._woven.read_again(self._read, step=step, path=path)
        unread: dict[Tail, Query] = {}
        for beam in self._counting(weave):
            for place in _evaluated(beam):
                if place.tail not in self._asked and place.tail not in unread:
                    unread[place.tail] = weave.question(place)
        self._asked.update(unread)
        return list(unread.values())

    def learn(self, fact: Fact) -> None:
        """Take in a canonical distribution."""
        tail, ids = fact.path.tail, fact.distribution.ids
        size = len(tail)
        grown = [path for path, _ in self._woven.grown if path[:size] == tail and len(path) > size]
        # A branch that was gone on from stays, though its token may be listed no more.
        if all(path[size] in ids for path in grown):
            self._read[tail] = fact.distribution

    def reread(self) -> Weave:
        """The weave with what was read in place of what was known."""
        return self._woven.read_again(self._read)

    def _counting(self, weave: Weave) -> list[Beam]:
        """Beams whose figures count. A search that was ended early stays so: nothing is looked at
        that it did not get to."""
        return [one for one in weave.contenders if self._woven.done or one.finish != "open"]

    def _off(self) -> tuple[float, float]:
        """How far steps and whole paths were off at worst, of those that were read first."""
        worst_step = worst_path = 0.0
        for beam in self._first:
            errors = [self._error(child) for child in (beam, *beam.ancestors)]
            worst_step = max(worst_step, *map(abs, errors))
            worst_path = max(worst_path, abs(sum(errors)))
        return worst_step, worst_path

    def _error(self, beam: Beam) -> float:
        """How far a beam's last step is off, in nats; 0 where that was not read."""
        read = self._read.get(beam.parent.tail) if beam.parent is not None else None
        if read is None or beam.step is None or read.permitted <= 0:
            return 0.0
        listed = read.logprobs[read.ids == beam.step.id].tolist()
        # Under a mask a step's logprob is given what that allows.
        return beam.step.logprob - min(listed[0] - math.log(read.permitted), 0.0) if listed else 0.0


def _evaluated(beam: Beam) -> Iterator[Beam]:
    """The beams whose distributions a beam is made of, and itself where it has not ended."""
    if beam.finish == "open":
        yield beam
    yield from beam.ancestors
