"""Step and play: the model writes the story on at the cursor, one drawn token after another.

A person's edit, a move of the cursor or a weave ends the play: whoever acts last has the story.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import asdict

from llterm.core.distribution import Distribution, Mask
from llterm.core.provenance import Arrival
from llterm.core.query import Failed, Query, Source
from llterm.core.sampling.candidates import NoCandidateLeft
from llterm.core.sampling.sampler_chain import Chain, Choice, DrawnText, Situation, barring
from llterm.core.tokens import Path, Tail
from llterm.core.weave_state import Weave
from llterm.engine.mixture import Mix
from llterm.errors import LltermError, UsageError
from llterm.session.background_task import BackgroundTask, Reason
from llterm.session.cursor import Cursor
from llterm.session.manuscript import Change, ModelRun
from llterm.session.placed_sample import alternatives, arrival_of
from llterm.session.placed_weave import PlacedWeave

SPEEDS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, math.inf)
"""Tokens a second that the keys step through."""


class Player:
    """Draws tokens by the sampler chain and puts them into the story."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self.task = BackgroundTask("The play failed", self._ended)
        self._steps = 0
        """Single steps that were asked for and are not done yet."""
        self._left = -1
        """The document's revision after the last token of this play."""
        self._carry = True
        """Whether text after the cursor stays after what is drawn."""
        self._chain: Chain | None = None
        self._line = DrawnText()
        self.playing = False
        self.speed = 5.0
        """Tokens a second; infinite: as fast as the model goes."""
        self.landed: Callable[[Change], None] = lambda _: None
        """Told of each change of the story."""
        self.ended: Callable[[LltermError | str], None] = lambda _: None
        """Told why a play ended by itself."""
        self.drawn = 0
        """Tokens drawn since the beginning."""
        cursor.listen(self._give_way)

    def step(self, *, carry: bool = True) -> None:
        """One token; without `carry`, text after the cursor is left behind as a branch.

        Returns at once. Raises LltermError where no model is ready.
        """
        self._begin(carry)
        self.playing = False
        self._steps += 1

    def play(self, *, carry: bool = True) -> None:
        """Go on until paused; `carry`: see `step`. Returns at once. Raises LltermError where no
        model is ready."""
        self._begin(carry)
        self._steps = 0
        self._left = -1
        self.playing = True
        self._cursor.changed()

    def forget(self) -> None:
        """Another model: the play is over, and nothing of it goes on."""
        self.pause()
        self._chain = None

    def pause(self) -> None:
        """End the play; what it wrote stays."""
        self.task.stop()
        self._steps = 0
        if self.playing:
            self.playing = False
            self._cursor.changed()

    def faster(self, by: int) -> None:
        """The next speed, or with -1 the one before."""
        if by > 0:
            self.speed = min((speed for speed in SPEEDS if speed > self.speed), default=self.speed)
        else:
            self.speed = max((speed for speed in SPEEDS if speed < self.speed), default=self.speed)
        self._cursor.changed()

    def _give_way(self) -> None:
        """Whoever weaves has the model, before the next token is asked for."""
        if self._cursor.weaving:
            self.pause()

    def _begin(self, carry: bool) -> None:
        self._carry = carry
        self._cursor.stop()
        self._cursor.here()
        if not self.task.running:
            self.task.start(self._work)

    async def _work(self) -> Reason:
        loop, reason = asyncio.get_running_loop(), ""
        while not reason and (self._steps or self.playing):
            began = loop.time()
            reason = await self._next()
            self._steps = max(self._steps - 1, 0)
            if self.playing and not reason:
                await asyncio.sleep(max(1 / self.speed - (loop.time() - began), 0))
        return reason

    def _ended(self, reason: Reason) -> None:
        self.playing, self._steps = False, 0
        self._cursor.changed()
        if reason:
            self.ended(reason)

    async def _next(self) -> str:
        """Draw and put in the least that adds text. Returns why the play is over, or nothing."""
        document, onward = self._cursor.document, self.playing and self._left >= 0
        if self._cursor.weaving or (onward and document.revision != self._left):
            self.playing = False
            return ""
        source = self._cursor.model
        revision = document.revision
        chain, placed = await self._cursor.chain(), await self._cursor.told(self._cursor.here())
        if self._chain is not chain:
            # What other settings drew is another run.
            onward = False
            self._chain = chain
        if revision != self._left:
            self._line = DrawnText()
        run = await self._draw(placed, source, chain)
        if document.revision != revision:
            # Somebody wrote meanwhile: what was drawn belongs to a text that is no more.
            self.playing = False
            return ""
        if run is None:
            return "the model ends the text here"
        change = self._cursor.land(run, carry=self._carry, onward=onward)
        self._left = document.revision
        self._line.text += run.data
        self.drawn += len(run.ids)
        self.landed(change)
        return ""

    async def _draw(self, placed: PlacedWeave, source: Source, chain: Chain) -> ModelRun | None:
        """Tokens until there is text: those that only write a healed word again add none."""
        weave, names = placed.weave, source.vocabulary
        tail: Tail = ()
        written, logprobs, others, by = b"", [], [], []
        arrivals: list[Arrival] = []
        while len(written) <= len(weave.residue):
            mask = weave.mask(tail)
            path = Path(weave.anchor, tail)
            blend = await source.look(path) if isinstance(source, Mix) else None
            if blend is None:
                distribution = await _distribution(Query(path, mask=mask, full=True), source)
            else:
                distribution = blend.distribution(mask)
            drawn = _drawn(chain, distribution, self._situation(weave, tail, written), weave, mask)
            self._line.took(drawn)
            token = names.token(drawn.id)
            if token.end:
                return None
            tail = (*tail, drawn.id)
            written += token.data
            logprobs.append(drawn.logprob)
            arrivals.append(arrival_of(drawn))
            others.append(alternatives(distribution, names))
            if blend is not None and isinstance(source, Mix):
                by.append(source.giver(blend, drawn.id))
        return ModelRun(
            ids=tail,
            sizes=tuple(len(names.token(id).data) for id in tail),
            data=written[len(weave.residue) :],
            logprobs=tuple(logprobs),
            overlap=len(weave.residue),
            model=source.name,
            fingerprint=names.fingerprint,
            settings={"sampling": asdict(chain.sampling)},
            alternatives=tuple(others),
            by=tuple(by),
            arrivals=tuple(arrivals),
            kernels=source.capabilities.kernel_kind,
        )

    def _situation(self, weave: Weave, tail: Tail, written: bytes) -> Situation:
        document, line = self._cursor.document, self._line
        story = document.bytes_before(document.cursor)
        return line.here(
            weave.anchor.tokens + tail,
            story[: len(story) - len(line.text)],
            weave.residue[len(written) :],
        )


async def _distribution(query: Query, source: Source) -> Distribution:
    async with aclosing(source.ask([query])) as answers:
        async for answer in answers:
            if isinstance(answer, Failed):
                raise answer.error
            if answer.path == query.path:
                return answer.distribution
    raise LltermError("The model gave no answer", "", "Try again.")


def _drawn(
    chain: Chain, distribution: Distribution, at: Situation, weave: Weave, mask: Mask | None
) -> Choice:
    allowed = mask.allowed if mask is not None else None
    tail = at.context[len(weave.anchor.tokens) :]
    try:
        if weave.constraint is not None:
            forced = chain.forced(at, weave.constraint, tail)
            return chain.draw(distribution, at, mask=allowed, first=forced)
        healing = [("healing", barring(~allowed))] if allowed is not None else []
        return chain.draw(distribution, at, first=healing)
    except NoCandidateLeft as error:
        raise UsageError(
            "Nothing may stand here",
            f"{error}.".capitalize(),
            "Loosen the constraint, the bans or the samplers.",
        ) from error
