"""Draws continuations of a text, many side by side: one round of questions a token for all of them.

A line is one continuation. Its owner may stop it, or all of them, at any moment; the others go on.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

from llterm.core.constraint import Constrained
from llterm.core.distribution import Distribution, Mask
from llterm.core.healing import Healer
from llterm.core.query import Cost, Failed, Query, Source
from llterm.core.sampling.ladder import Mirostat, NoCandidateLeft
from llterm.core.sampling.sampler_chain import Chain, Choice, Situation, barring
from llterm.core.sampling.stage_types import Stage
from llterm.core.stops import Stopper
from llterm.core.tokens import Anchor, Path, Tail, Token
from llterm.errors import LltermError

KEEP = 64
"""Candidates listed beside the whole distribution."""
MOST_LISTED = 1024
"""Candidates asked of a source that cannot give the whole distribution; it may give fewer. A server
spells each of them out in some 80 bytes."""

Finish = Literal["end", "stop", "length", "stuck", "stopped", "failed"]
"""Why a line ended: an end-of-text token, a sentence end or stop text, its length; nothing may
follow under bans and constraint; its owner stopped it; the source cannot go on (see `error`)."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where the lines of one drawing begin."""

    tokens: Tail
    """What the model is given: its own prefix, hidden text, the story's window."""
    story: bytes = b""
    """The text that `tokens` end, for bans that begin in it; its last few hundred bytes do."""
    residue: bytes = b""
    """Bytes at the end of `story` that the first tokens must write again (token healing)."""


@dataclass(slots=True, eq=False)
class Line:
    """One continuation while it is drawn."""

    number: int = 0
    """Decides, with the settings' seed, what is drawn: equal ones draw alike."""
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
        """Draw no further token of this line."""
        if self.finish is None:
            self.finish = "stopped"


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One token of a line. The line itself has it already."""

    line: Line
    token: Token
    choice: Choice
    found: Distribution
    cost: Cost
    """What the question took; of lines with the same tokens, the first has it."""


@dataclass
class Drawing:
    """Lines that are drawn together."""

    source: Source
    chain: Chain
    start: Start
    lines: Sequence[Line]
    constraint: Constrained | None = None
    """What each line must fit from its first token on; not together with a residue."""
    healer: Healer | None = None
    """Needed where there is a residue."""
    cost: Cost = field(default_factory=Cost)
    """What it took so far."""
    caveat: str = ""
    """What is not exact about the ladders; empty when all is."""

    def __post_init__(self) -> None:
        self._anchor = Anchor(self.start.tokens)
        for line in self.lines:
            line.residue = self.start.residue

    async def run(self) -> AsyncGenerator[Drawn]:
        """Draw until every line has ended. Closing the generator cancels what is under way.

        Lines that hold the same tokens share one question, all questions of a round are asked
        together, and lines may be stopped, or taken back to earlier tokens, between two tokens.
        Raises LltermError when nothing can be answered at all.
        """
        while going := [line for line in self.lines if line.finish is None]:
            by_tail: dict[Tail, list[Line]] = {}
            for line in self._abreast(going):
                by_tail.setdefault(line.tail, []).append(line)
            width = self.source.capabilities.batch
            tails = list(by_tail)
            for begin in range(0, len(tails), width):
                part = tails[begin : begin + width]
                async with aclosing(self._round(part, by_tail)) as drawn:
                    async for one in drawn:
                        yield one

    def _abreast(self, going: Sequence[Line]) -> Sequence[Line]:
        """As many lines as the source can remember; the others wait until one of these ends.

        Were they drawn by turns, each would be forgotten before its turn came, and evaluated anew
        for every token.
        """
        if self.source.capabilities.cells is None:
            return going
        room = self.source.capabilities.cells - len(self.start.tokens)
        held = accumulate(len(line.tail) + 1 for line in going)
        return going[: max(sum(size <= room for size in held), 1)]

    async def _round(
        self, tails: Sequence[Tail], by_tail: dict[Tail, list[Line]]
    ) -> AsyncGenerator[Drawn]:
        queries = [self._query(tail, by_tail[tail][0]) for tail in tails]
        async with aclosing(self.source.ask(queries)) as answers:
            async for answer in answers:
                lines = [line for line in by_tail[answer.path.tail] if line.finish is None]
                if isinstance(answer, Failed):
                    for line in lines:
                        line.finish, line.error = "failed", answer.error
                    continue
                self.cost += answer.cost
                self.caveat = self.chain.caveat(answer.distribution)
                cost = answer.cost
                for line in lines:
                    drawn = self._draw(line, answer.distribution, cost)
                    if drawn is not None:
                        cost = Cost()
                        yield drawn

    def _query(self, tail: Tail, line: Line) -> Query:
        path = Path(self._anchor, tail)
        if self.source.capabilities.full_vocabulary:
            return Query(path, KEEP, full=True)
        mask = self._healing(line) if line.residue else self._allowed(line)
        return Query(path, MOST_LISTED, mask)

    def _healing(self, line: Line) -> Mask | None:
        return self.healer.mask(line.residue) if self.healer and line.residue else None

    def _allowed(self, line: Line) -> Mask | None:
        return self.constraint.mask(line.tail) if self.constraint is not None else None

    def _draw(self, line: Line, found: Distribution, cost: Cost) -> Drawn | None:
        """Draw the line's next token; None where nothing may stand there."""
        at = Situation(
            context=self.start.tokens + line.tail,
            story=self.start.story,
            drawn=line.data,
            count=len(line.tail),
            residue=line.residue,
            mirostat=line.mirostat,
        )
        mask, healing = self._allowed(line), self._healing(line)
        first: list[tuple[str, Stage]] = []
        if healing is not None:
            first.append(("healing", barring(~healing.allowed)))
        if self.constraint is not None:
            first += self.chain.forced(at, self.constraint, line.tail)
        try:
            allowed = mask.allowed if mask is not None else None
            chosen = self.chain.draw(found, at, line=line.number, mask=allowed, first=first)
        except NoCandidateLeft:
            line.finish = "stuck"
            return None
        line.mirostat = chosen.mirostat
        self.take(line, chosen.id)
        return Drawn(line, self.source.vocabulary.token(chosen.id), chosen, found, cost)

    def take(self, line: Line, id: int) -> None:
        """Put a token at the end of a line, drawn or chosen by hand."""
        token = self.source.vocabulary.token(id)
        written = b"" if token.special else token.data
        line.tail += (id,)
        line.residue, shown = line.residue[len(written) :], written[len(line.residue) :]
        line.data += shown
        if token.end:
            line.finish = "end"
        elif line.stopper and line.stopper.ended(line.data.decode("utf-8", "ignore")):
            line.finish = "stop"
        elif len(line.tail) >= line.most:
            line.finish = "length"
