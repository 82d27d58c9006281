"""Draws samples of a text, many side by side: one round of questions a token for all of them.

The owner of a sample may stop it, or all of them, at any moment; the others go on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Literal

from llterm.core.distribution import Constrained, Distribution, Mask
from llterm.core.healing import Healer
from llterm.core.query import Cost, Failed, Query, Source
from llterm.core.sampling.candidates import NoCandidateLeft
from llterm.core.sampling.ladder import Mirostat
from llterm.core.sampling.sampler_chain import Chain, Choice, Situation, barring
from llterm.core.sampling.stage_types import Stage
from llterm.core.stops import Stopper
from llterm.core.tokens import Anchor, Path, Tail, Token
from llterm.errors import LltermError

STORY = 4096
"""Bytes of the story that bans look back on."""
KEEP = 64
"""Candidates listed beside the whole distribution."""
MOST_LISTED = 1024
"""Candidates asked of a source that cannot give the whole distribution; it may give fewer. A server
spells each of them out in some 80 bytes."""

Finish = Literal["end", "stop", "length", "stuck", "stopped", "failed"]
"""Why a sample ended: an end-of-text token, a sentence end or stop text, its length; nothing
may follow under bans and constraint; its owner stopped it; the source cannot go on (see
`error`)."""


@dataclass(frozen=True, slots=True)
class DrawingStart:
    """Where the samples of one drawing begin."""

    tokens: Tail
    """What the model is given: its own prefix, hidden text, the story's window."""
    story: bytes = b""
    """The text that `tokens` end, for bans that begin in it; its last bytes do (`STORY`)."""
    residue: bytes = b""
    """Bytes at the end of `story` that the first tokens must write again (token healing)."""


@dataclass(slots=True, eq=False)
class Sample:
    """One sample while it is drawn."""

    number: int = 0
    """Decides, with the settings' seed, what is drawn: equal ones draw alike."""
    start: DrawingStart | None = None
    """Where it begins, whose tokens begin with those of the drawing's start; None: there."""
    most: int = 1 << 30
    """Tokens at which it ends."""
    stopper: Stopper | None = None
    """Where its text ends; None: nowhere."""
    tail: Tail = ()
    """The tokens drawn so far."""
    data: bytes = b""
    """The text drawn so far, less what heals the end of the story."""
    residue: bytes = b""
    mirostat: Mirostat | None = None
    finish: Finish | None = None
    error: LltermError | None = None

    def stop(self) -> None:
        """Draw no further token of this sample."""
        if self.finish is None:
            self.finish = "stopped"


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One token of a sample. The sample itself has it already."""

    sample: Sample
    token: Token
    choice: Choice
    distribution: Distribution
    cost: Cost
    """What the question took; of samples with the same tokens, the first has it."""
    mask: Mask | None = None
    """What constraint or healing let stand there; None: everything."""

    @property
    def logprob(self) -> float:
        """Natural, of the raw model."""
        return self.choice.logprob

    @property
    def p(self) -> float:
        """What it was drawn with, after the chain."""
        return self.choice.p


@dataclass
class Drawing:
    """Samples that are drawn together."""

    source: Source
    chain: Chain
    start: DrawingStart
    samples: Sequence[Sample]
    constraint: Constrained | None = None
    """What each sample must fit from its first token on; not together with a residue."""
    healer: Healer | None = None
    """Needed where there is a residue."""
    cost: Cost = field(default_factory=Cost)
    """What it took so far."""
    caveat: str = ""
    """What is not exact about the ladders; empty when all is."""

    @classmethod
    def of(
        cls,
        source: Source,
        chain: Chain,
        start: DrawingStart,
        numbers: Iterable[int],
        tokens: int,
        stopper: Stopper,
        *,
        constraint: Constrained | None = None,
        healer: Healer | None = None,
    ) -> Drawing:
        """A sample for each of these numbers, each of so many tokens at most.

        `start` may hold the whole story: what bans cannot look back on is left out.
        """
        start = replace(start, story=start.story[-STORY:])
        samples = [Sample(number, most=tokens, stopper=stopper) for number in numbers]
        return cls(source, chain, start, samples, constraint, healer)

    def __post_init__(self) -> None:
        self._anchor = Anchor(self.start.tokens)
        for sample in self.samples:
            sample.residue = self._start(sample).residue

    def _start(self, sample: Sample) -> DrawingStart:
        return sample.start or self.start

    def _place(self, sample: Sample) -> tuple[Tail, bytes]:
        """Where it is: its tokens after those that all samples begin with; and, for a source that
        tells only what a mask lets it tell, what it has to write again."""
        tail = self._start(sample).tokens[len(self.start.tokens) :] + sample.tail
        return tail, b"" if self.source.capabilities.full_vocabulary else sample.residue

    async def run(self) -> AsyncGenerator[Drawn]:
        """Draw until every sample has ended. Closing the generator cancels what is under way.

        Those that hold the same tokens share one question, all questions of a round are asked
        together, and each may be stopped, or taken back to earlier tokens, between two tokens.
        Raises LltermError when nothing can be answered at all.
        """
        while going := [each for each in self.samples if each.finish is None]:
            waiting: dict[tuple[Tail, bytes], list[Sample]] = {}
            for sample in self._abreast(going):
                waiting.setdefault(self._place(sample), []).append(sample)
            while waiting:
                asked: dict[Tail, list[Sample]] = {}
                for place in list(waiting):
                    if place[0] not in asked and len(asked) < self.source.capabilities.batch:
                        asked[place[0]] = waiting.pop(place)
                async with aclosing(self._round(asked)) as drawn:
                    async for token in drawn:
                        yield token

    def _abreast(self, going: Sequence[Sample]) -> Sequence[Sample]:
        """As many as the source can remember; the others wait until one of these ends.

        Were they drawn by turns, each would be forgotten before its turn came, and evaluated anew
        for every token.
        """
        if self.source.capabilities.cells is None:
            return going
        room = self.source.capabilities.cells - len(self.start.tokens)
        begun: set[Tail] = set()
        sizes: list[int] = []
        for sample in going:
            before = self._start(sample).tokens[len(self.start.tokens) :]
            sizes.append(len(sample.tail) + 1 + (0 if before in begun else len(before)))
            begun.add(before)
        return going[: max(sum(size <= room for size in accumulate(sizes)), 1)]

    async def _round(self, by_tail: dict[Tail, list[Sample]]) -> AsyncGenerator[Drawn]:
        queries = [self._query(tail, samples[0]) for tail, samples in by_tail.items()]
        async with aclosing(self.source.ask(queries)) as answers:
            async for answer in answers:
                samples = [each for each in by_tail[answer.path.tail] if each.finish is None]
                if isinstance(answer, Failed):
                    for sample in samples:
                        sample.finish, sample.error = "failed", answer.error
                    continue
                self.cost += answer.cost
                self.caveat = self.chain.caveat(answer.distribution)
                cost = answer.cost
                for sample in samples:
                    drawn = self._draw(sample, answer.distribution, cost)
                    if drawn is not None:
                        cost = Cost()
                        yield drawn

    def _query(self, tail: Tail, sample: Sample) -> Query:
        path = Path(self._anchor, tail)
        if self.source.capabilities.full_vocabulary:
            return Query(path, KEEP, full=True)
        mask = self._healing(sample) if sample.residue else self._allowed(sample)
        return Query(path, MOST_LISTED, mask)

    def _healing(self, sample: Sample) -> Mask | None:
        return self.healer.mask(sample.residue) if self.healer and sample.residue else None

    def _allowed(self, sample: Sample) -> Mask | None:
        return self.constraint.mask(sample.tail) if self.constraint is not None else None

    def _draw(self, sample: Sample, distribution: Distribution, cost: Cost) -> Drawn | None:
        """Draw the continuation's next token; None where nothing may stand there."""
        at = Situation(
            context=self._start(sample).tokens + sample.tail,
            story=self._start(sample).story,
            drawn=sample.data,
            count=len(sample.tail),
            residue=sample.residue,
            mirostat=sample.mirostat,
        )
        mask, healing = self._allowed(sample), self._healing(sample)
        first: list[tuple[str, Stage]] = []
        if healing is not None:
            first.append(("healing", barring(~healing.allowed)))
        if self.constraint is not None:
            first += self.chain.forced(at, self.constraint, sample.tail)
        try:
            allowed = mask.allowed if mask is not None else None
            chosen = self.chain.draw(
                distribution, at, line=sample.number, mask=allowed, first=first
            )
        except NoCandidateLeft:
            sample.finish = "stuck"
            return None
        sample.mirostat = chosen.mirostat
        self.take(sample, chosen.id)
        token = self.source.vocabulary.token(chosen.id)
        return Drawn(sample, token, chosen, distribution, cost, healing or mask)

    def take(self, sample: Sample, id: int) -> None:
        """Put a token at the end of a sample, drawn or chosen by hand."""
        token = self.source.vocabulary.token(id)
        written = b"" if token.special else token.data
        sample.tail += (id,)
        sample.residue, shown = (
            sample.residue[len(written) :],
            written[len(sample.residue) :],
        )
        sample.data += shown
        if token.end:
            sample.finish = "end"
        elif sample.stopper and sample.stopper.ended(sample.data.decode("utf-8", "ignore")):
            sample.finish = "stop"
        elif len(sample.tail) >= sample.most:
            sample.finish = "length"
