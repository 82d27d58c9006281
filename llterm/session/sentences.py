"""Sentence beams: whole sentences sampled by one model or several, one of which goes on the story.

Sentences that the person keeps stay for the next round; the last piece can be taken back, and is
among the offers again. After the beamwriter of LLooM's author, as a sitting over a loom.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from llterm.backends.remote.transport import of_server
from llterm.core.beams import Step
from llterm.core.display_text import visible
from llterm.core.query import Failed, OnServers, Query, Source
from llterm.core.sampling.sampler_chain import Chains
from llterm.core.server_news import ServerNews
from llterm.core.tokens import Path
from llterm.errors import LltermError, UsageError
from llterm.session.background_task import BackgroundTask, Reason, outcome
from llterm.session.manuscript import Change
from llterm.session.placed_sample import PlacedSample
from llterm.session.placed_weave import PlacedWeave, SamplePath
from llterm.session.sample_set import follow, make_drawing
from llterm.session.session import Session
from llterm.session.suggestions import WeaveBeginning, WeaveCache

FAILURE = "No sentences could be drawn"


@dataclass(slots=True, eq=False)
class SentenceOffer:
    """A sentence that may go on the story."""

    source: Source
    sample: PlacedSample
    at: bytes
    """The story that its probabilities are given."""
    kept: bool = False
    """It stays for the next round."""

    @property
    def text(self) -> str:
        return visible(self.sample.data)


class Sentences:
    """One sitting. Rounds of offers; each pick is a step of the loom's history."""

    def __init__(self, session: Session, changed: Callable[[], None]) -> None:
        """Raises UsageError without a model."""
        if session.source is None:
            raise UsageError("There is no model to write sentences", "", "Choose one first.")
        self._session = session
        self._changed = changed
        self._sources: list[Source] = []
        self._chains: list[Chains] = []
        self._weaves: list[WeaveCache] = []
        self.news: list[ServerNews] = []
        """Of the servers that the models are on."""
        self._returned = 0
        self._end_news: list[Callable[[], None]] = []
        self.error: LltermError | None = None
        """Why the last round ended before its time; None again once its server answers."""
        self.join(session.source)
        self._offers: list[SentenceOffer] = []
        self._pieces: list[tuple[SentenceOffer | None, int]] = []
        """What was put into the story, and the document's revision after it."""
        self.task = BackgroundTask(FAILURE, self._ended)
        self._numbers = 0

    @property
    def models(self) -> Sequence[str]:
        """The names of those that write, the session's own first."""
        return [source.name for source in self._sources]

    def join(self, source: Source) -> None:
        """Let one more model write, from the next round on; its owner closes it."""
        self._sources.append(source)
        self._chains.append(Chains(source.vocabulary))
        self._weaves.append(WeaveCache())
        if isinstance(source, OnServers):
            self.news.append(source.news)
            self._returned += source.news.returns
            self._end_news.append(source.news.listen(self._news_heard))

    @property
    def running(self) -> bool:
        return self.task.running

    @property
    def offers(self) -> list[SentenceOffer]:
        """Those with text, each text once, kept ones first."""
        by_text: dict[bytes, SentenceOffer] = {}
        for offer in sorted(self._offers, key=lambda offer: not offer.kept):
            if offer.sample.data:
                by_text.setdefault(offer.sample.data, offer)
        return list(by_text.values())

    def start(self, count: int, tokens: int) -> None:
        """A round: so many sentences of each model, of so many tokens at most. Returns at once."""
        self.stop()
        self.error = None
        self._offers = [one for one in self._offers if one.kept]
        self.task.start(lambda: self._round(count, tokens))
        self._changed()

    def stop(self) -> None:
        """Draw no further; what there is stays."""
        if self.task.stop():
            self._end()

    def close(self) -> None:
        """The sitting is over: stop, and hear of no server any more."""
        self.stop()
        for end in self._end_news:
            end()

    def keep(self, offer: SentenceOffer) -> None:
        """Let it stay for the next round, or no longer."""
        offer.kept = not offer.kept
        self._changed()

    def pick(self, offer: SentenceOffer) -> Change:
        """Put it into the story at the cursor. Raises UsageError for one of another place."""
        self.stop()
        if offer.at != self._story():
            raise UsageError("This sentence is of another place", "", "Draw again first.")
        run = SamplePath.of(offer.sample).run(offer.source)
        change = self._session.put(run)
        offer.kept = False
        self._offers.remove(offer)
        self._pieces.append((offer, self._session.document.revision))
        return change

    def write(self, text: str) -> Change:
        """Put a sentence of the person's own into the story at the cursor."""
        self.stop()
        document = self._session.document
        document.checkpoint()
        change = self._session.edit(document.cursor, document.cursor, text)
        document.checkpoint()
        self._pieces.append((None, document.revision))
        return change

    def back(self) -> Change | None:
        """Take back the last piece of this sitting; the model's is offered again, and kept.

        Sentences that were drawn after it and are not kept go. None where there is no such piece,
        or something else was done since.
        """
        self.stop()
        if not self._pieces or self._pieces[-1][1] != self._session.document.revision:
            return None
        offer, _ = self._pieces.pop()
        change = self._session.undo()
        self._offers = [one for one in self._offers if one.kept]
        if offer is not None:
            offer.kept = True
            self._offers.append(offer)
        if self._pieces:
            self._pieces[-1] = self._pieces[-1][0], self._session.document.revision
        return change

    def _news_heard(self) -> None:
        """A server went away, or was given up, or answers again."""
        before, self._returned = self._returned, sum(news.returns for news in self.news)
        if self._returned > before and of_server(self.error):
            self.error = None
        self._changed()

    def _story(self) -> bytes:
        document = self._session.document
        return document.bytes_before(document.cursor)

    def _ended(self, reason: Reason) -> None:
        if isinstance(reason, LltermError):
            self.error = reason
        self._end()

    def _end(self) -> None:
        for offer in self._offers:
            offer.sample.finish = offer.sample.finish or "stopped"
        self._changed()

    async def _round(self, count: int, tokens: int) -> Reason:
        """Each model's part of a round; where one fails, the others go on."""
        first = self._numbers
        self._numbers += count

        async def part(number: int) -> None:
            reason = await outcome(lambda: self._of(number, first, count, tokens), FAILURE)
            if isinstance(reason, LltermError):
                self.error = reason

        await asyncio.gather(*map(part, range(len(self._sources))))
        return ""

    async def _of(self, number: int, first: int, count: int, tokens: int) -> Reason:
        source, session = self._sources[number], self._session
        story = self._story()
        placed = await self._place(number)
        for offer in list(self._offers):
            if offer.source is source and offer.at != story:
                await _read_again(offer, placed, story)
        chain = await self._chains[number].told(session.sampling)
        samples = [
            PlacedSample(first + n, placed.weave.residue, chain.sampling) for n in range(count)
        ]
        self._offers += [SentenceOffer(source, sample, story) for sample in samples]
        drawing = make_drawing(
            placed, session.document, source, chain, samples, tokens, sentence=True
        )
        async with aclosing(follow(drawing, samples)) as drawn:
            async for _ in drawn:
                self._changed()
        return next((line.error for line in drawing.samples if line.error), "")

    async def _place(self, number: int) -> PlacedWeave:
        """A weave of this model at the cursor, of which nothing is searched."""
        session, source = self._session, self._sources[number]
        place = self._story(), session.document.chat, number, session.constraint
        bans = session.sampling.bans
        beginning = WeaveBeginning.of(place, session.document, source, session.constraint, bans)
        return await self._weaves[number].told(beginning)


async def _read_again(offer: SentenceOffer, placed: PlacedWeave, story: bytes) -> None:
    """Ask what a kept sentence's tokens are worth at the new place of the story."""
    weave, source, text = placed.weave, offer.source, offer.sample.data
    ids = await source.vocabulary.tokenize(weave.residue + text)
    queries = [Query(Path(weave.anchor, ids[:n]), full=True) for n in range(len(ids))]
    after = {}
    async with aclosing(source.ask(queries)) as answers:
        async for answer in answers:
            if isinstance(answer, Failed):
                raise answer.error
            after[len(answer.path.tail)] = answer.distribution
    steps = []
    for n, id in enumerate(ids):
        listed = dict(zip(after[n].ids.tolist(), after[n].logprobs.tolist(), strict=True))
        full = after[n].full
        logprob = float(full[id]) if full is not None else listed.get(id, float("-inf"))
        rank = 1 + int(
            (after[n].logprobs > logprob).sum() if full is None else (full > logprob).sum()
        )
        steps.append(Step(id, source.vocabulary.token(id).data, logprob, rank))
    offer.sample = replace(
        offer.sample,
        residue=weave.residue,
        steps=steps,
        found=[replace(after[n], full=None) for n in range(len(ids))],
    )
    offer.at = story
