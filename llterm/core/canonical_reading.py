"""Which paths of a weave are read once more, for their canonical figures, and what it is then.

A quantised model's figures depend, in their second digit, on which paths stood side by side when
they were evaluated. A path's canonical figures are those that it has alone. To have them for
every path that was searched would cost as much as the search; but only the best N count, and what
comes so close to them that figures so uncertain cannot decide. So the best N are read first, which
tells how far the others may be off; then whatever comes as close as that, at the cutoffs too, until
nothing is left that counts and was not read. Pure: it asks, it is told.
"""

from __future__ import annotations

from collections.abc import Iterator

from llterm.core.beams import Beam
from llterm.core.distribution import Distribution
from llterm.core.query import Fact, Query
from llterm.core.tokens import Tail
from llterm.core.weave_state import Weave


class CanonicalReading:
    """The reading of one weave, which is not searched meanwhile."""

    def __init__(self, weave: Weave) -> None:
        self._woven = weave
        self._before = {beam.tail: beam for beam in weave.contenders}
        self._asked = set(weave.canonical)
        self._read: dict[Tail, Distribution] = {}
        self._step = self._path = 0.0
        """How far steps and whole paths were off at worst, of those that were read."""
        self._further = weave.done
        """Whether more may be looked at than was woven: a search that was ended early stays so."""

    def wants(self) -> list[Query]:
        """What to ask next, all of it; nothing where all that counts was read. What was asked for
        and not learned stays as it was."""
        weave = self._doubted()
        unread = self._unread(weave)
        if not unread and self._grows_doubt(weave):
            unread = self._unread(self._doubted())
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

    def _doubted(self) -> Weave:
        return self._woven.read_again(self._read, step=self._step, path=self._path)

    def _unread(self, weave: Weave) -> dict[Tail, Query]:
        """What to ask about the contenders, the most probable one first."""
        unread: dict[Tail, Query] = {}
        for beam in weave.contenders:
            for place in _evaluated(beam):
                if self._counts(place.tail) and place.tail not in unread:
                    unread[place.tail] = weave.question(place)
        return unread

    def _counts(self, tail: Tail) -> bool:
        return tail not in self._asked and (self._further or tail in self._woven.facts)

    def _grows_doubt(self, weave: Weave) -> bool:
        """Whether what was read was farther off than anything before."""
        step, path = self._step, self._path
        for beam in weave.contenders:
            woven = self._before.get(beam.tail)
            if woven is not None:
                self._step = max(self._step, _apart(woven, beam))
                self._path = max(self._path, abs(woven.logprob - beam.logprob))
        return (self._step, self._path) != (step, path)


def _evaluated(beam: Beam) -> Iterator[Beam]:
    """The beams whose distributions a beam is made of, and itself where it has not ended."""
    if beam.finish == "open":
        yield beam
    yield from beam.ancestors


def _apart(woven: Beam, read: Beam) -> float:
    """The most that a token's logprob in one differs from that in the other, in nats."""
    steps = zip(woven.steps, read.steps, strict=True)
    return max((abs(one.logprob - other.logprob) for one, other in steps), default=0.0)
