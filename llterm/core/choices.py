"""Search for the whole probability of each of a few texts, summed over all ways to spell it.

A text's probability is that of the tokens to come beginning with it: the sum, over every token path
whose bytes are exactly the text, of the product of the model's own probabilities
(`spelled_sum.py`), with what was not looked at told as a bound. Nothing is renormalised: no cutoff,
split limit or beam limit hides a text. Pure, as the best-first search beside it.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from llterm.core.beams import CONSTRAINT, Beam, KnownDistributions, likeliest_first
from llterm.core.spelled_sum import SpelledSum
from llterm.core.suggestion_tree import Branch, Suggestion, View
from llterm.core.tokens import Tail

COUNTS = 0.01
"""Share of a text's probability from which on a spelling counts."""


@dataclass(slots=True)
class _Choice:
    """One of the texts."""

    data: bytes
    sum: SpelledSum = field(default_factory=SpelledSum)
    spellings: list[Beam] = field(default_factory=list)
    """The token paths found."""

    def add(self, beam: Beam) -> None:
        """Take in a path that is the text."""
        self.spellings.append(beam)
        self.sum.logprobs.append(beam.logprob)


class ChoiceSearch:
    """Every text that may be written after one beam. As `Search` to its owner."""

    full = False
    """A larger limit finds no more."""

    def __init__(self, terrain: KnownDistributions, root: Beam) -> None:
        self.terrain = terrain
        self.root = root
        texts = terrain.constraint.texts if terrain.constraint is not None else ()
        further = dict.fromkeys(text for text in texts if text.startswith(root.data))
        self._choices = [_Choice(text) for text in further if text != root.data]
        self._open: dict[Tail, Beam] = {}
        self._pending: dict[Tail, Beam] = {}
        self._refused: dict[Tail, Beam] = {}
        self._best: list[tuple[float, Tail]] = []
        self.banned: list[Beam] = []
        """Texts that a ban forbids, and what the model would begin with otherwise."""
        self._follow(root)

    @property
    def goal(self) -> int:
        """How many texts there are."""
        return len(self._choices)

    @property
    def finished(self) -> list[Beam]:
        """All spellings found, most probable first."""
        return sorted(
            (beam for choice in self._choices for beam in choice.spellings), key=likeliest_first
        )

    @property
    def open(self) -> list[Beam]:
        """Beams that are only the beginning of a text."""
        beams = [*self._open.values(), *self._pending.values(), *self._refused.values()]
        return sorted(beams, key=likeliest_first)

    @property
    def contenders(self) -> list[Beam]:
        """The spellings that count for their texts, and beams that some text still waits for."""
        spellings = [
            beam
            for choice in self._choices
            for beam in choice.spellings
            if beam.logprob >= choice.sum.logprob + math.log(COUNTS)
        ]
        return [*spellings, *(beam for beam in self._open.values() if self._matters(beam))]

    @property
    def best_open(self) -> float:
        """Logprob that nothing which was not looked at adds to a text."""
        unseen = max((choice.sum.unseen for choice in self._choices), default=0.0)
        return math.log(unseen) if unseen > 0 else -math.inf

    @property
    def done(self) -> bool:
        return not self._pending and not any(self._matters(beam) for beam in self._open.values())

    def wants(self, room: int, lines: int = 0, abreast: int = 1) -> list[Beam]:
        """Up to `room` beams that some text still waits for, most probable first."""
        chosen: list[Beam] = []
        while self._best and len(chosen) < room:
            beam = self._open.pop(heapq.heappop(self._best)[1], None)
            # A text once settled stays so: what is passed over here is never needed again.
            if beam is not None and self._matters(beam):
                self._pending[beam.tail] = beam
                chosen.append(beam)
            elif beam is not None:
                self._refused[beam.tail] = beam
        return chosen

    def ahead(self, beam: Beam) -> int:
        """Nothing: under a mask no line is of use."""
        return 0

    def learned(self, tail: Tail) -> bool:
        """The distribution after `tail` is known now. False: no line was waited for."""
        beam = self._pending.pop(tail, None) or self._open.pop(tail, None)
        if beam is not None:
            self._follow(beam)
        return False

    def release(self, tail: Tail) -> bool:
        """The query was cancelled or failed: the beam is open again. False: it was not pending."""
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
        beam = self._pending.pop(tail, None)
        if beam is not None:
            self._refused[tail] = beam

    def view(self, *, spent: bool, banned: bool) -> View:
        """Every text found so far once, most probable first, one row each."""
        known = sorted(
            (known_choice for known_choice in self._choices if known_choice.spellings),
            key=_likeliest_first,
        )
        total = (
            float(np.logaddexp.reduce([known_choice.sum.logprob for known_choice in known]))
            if known
            else 0.0
        )
        rows = tuple(_row(choice, total) for choice in known)
        done = self.done
        settled = next(
            (at for at, known_choice in enumerate(known) if not known_choice.sum.settled),
            len(known),
        )
        return View(
            suggestions=tuple(_suggestion(choice, total) for choice in known),
            branches=(*rows, *map(_banned_row, self.banned)) if banned else rows,
            settled=len(known) if done else settled,
            bound=math.exp(self.best_open),
            coverage=(math.fsum(_apart(known)),) if known else (),
            done=done,
            spent=spent and not done,
        )

    # --- inner workings

    def _matters(self, beam: Beam) -> bool:
        """Whether a text that is not settled may come of this beam."""
        return any(beam.tail in one.sum.leading and not one.sum.settled for one in self._choices)

    def _push(self, beam: Beam) -> None:
        self._open[beam.tail] = beam
        heapq.heappush(self._best, (-beam.logprob, beam.tail))

    def _follow(self, beam: Beam) -> None:
        """Follow what is known from this beam on; push what is not known."""
        waiting = [beam]
        while waiting:
            beam = waiting.pop()
            further = [one for one in self._choices if _begins(beam.data, one.data)]
            if further and self.terrain.known(beam) is None:
                for choice in further:
                    choice.sum.leading[beam.tail] = beam.logprob
                self._push(beam)
            elif further:
                for choice in further:
                    choice.sum.leading.pop(beam.tail, None)
                waiting += self._children(beam, further)

    def _children(self, beam: Beam, further: Sequence[_Choice]) -> Iterator[Beam]:
        """The beams that go on from one; those that are a text are noted with it too."""
        distribution = self.terrain.facts[beam.tail]
        listed = 0.0
        for child in self.terrain.spelled(beam, distribution):
            if child.banned:
                # Of what the constraint itself takes, the first tokens alone are worth a row.
                if child.banned != CONSTRAINT or beam is self.root:
                    self.banned.append(child)
                continue
            listed += math.exp(child.logprob - beam.logprob)
            for choice in further:
                if choice.data == child.data:
                    choice.add(child)
            yield child
        if not distribution.exact:
            for choice in further:
                choice.sum.hidden += math.exp(beam.logprob) * max(
                    distribution.permitted - listed, 0.0
                )


def _begins(data: bytes, text: bytes) -> bool:
    """Whether a text goes on after these bytes."""
    return len(text) > len(data) and text.startswith(data)


def _apart(choices: Sequence[_Choice]) -> Iterator[float]:
    """Probabilities of the texts that do not begin with another one."""
    for choice in choices:
        if not any(_begins(other.data, choice.data) for other in choices):
            yield math.exp(choice.sum.logprob)


def _likeliest_first(choice: _Choice) -> tuple[float, bytes]:
    return -choice.sum.logprob, choice.data


def _suggestion(choice: _Choice, total: float) -> Suggestion:
    best, *others = sorted(choice.spellings, key=likeliest_first)
    merged = math.fsum(math.exp(beam.logprob) for beam in others)
    share = math.exp(choice.sum.logprob - total)
    return Suggestion(best.tail, best.steps, best.data, best.logprob, "choice", merged, share=share)


def _row(choice: _Choice, total: float) -> Branch:
    best = min(choice.spellings, key=likeliest_first)
    return Branch(
        best.tail, best.steps, best.data, math.exp(choice.sum.logprob), choice.sum.logprob,
        finish="choice", share=math.exp(choice.sum.logprob - total),
    )  # fmt: skip


def _banned_row(beam: Beam) -> Branch:
    return Branch(
        beam.tail, beam.steps, beam.data, math.exp(beam.logprob), beam.logprob,
        finish="banned", banned=beam.banned,
    )  # fmt: skip
