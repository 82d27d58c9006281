"""A mix of several models as one source: searches, reading and sessions ask it like any other.

Models of one vocabulary are mixed token by token. Others are mixed byte by byte: the mix's tokens
are then bytes, and every model stays in step with them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import numpy as np

from llterm.core.distribution import Distribution
from llterm.core.judging.rows import normalised
from llterm.core.mixing.blend import Blend, Heard
from llterm.core.mixing.listing import distribution_of
from llterm.core.mixing.octets import ByteVocabulary
from llterm.core.mixing.recipe import Recipe
from llterm.core.mixing.spelling import DROPPED
from llterm.core.query import Backend, Capabilities, Cost, Fact, Failed, Query, Scored, Whole
from llterm.core.tokens import Anchor, Path, Tail, Vocabulary
from llterm.engine.voices import Answer, ByteVoice, IdVoice, Voice
from llterm.engine.whole import PART, rows_of
from llterm.errors import LltermError, UsageError

LOOKED = 4
"""Blends that are kept."""
BYTES = 4
"""Bytes a token, about: how much text a mix of bytes takes for a model's context."""


_Said = tuple[int, Answer | LltermError | None]
"""What a model, by index, said: about one path, that it fails, or that it is done."""


@dataclass(slots=True, eq=False)
class _Hearing:
    """What has been said about one path so far."""

    heard: dict[int, Heard] = field(default_factory=dict)
    error: LltermError | None = None
    cost: Cost = field(default_factory=Cost)
    left: int = 0
    """Models that have not said anything yet."""


class Mix:
    """Several models and a recipe. Closing it closes them."""

    def __init__(
        self,
        sources: Sequence[Backend],
        recipe: Recipe,
        *,
        names: Sequence[str] | None = None,
        dropped: float = DROPPED,
        bytewise: bool = False,
        forgiving: bool = False,
    ) -> None:
        """`names`: what to call the models, if not as they do.

        `dropped`: see `ByteVoice`; 0 makes bytes exact at any cost. `bytewise`: mix bytes also
        where the vocabularies are one. `forgiving`: a model that fails is left out (`lost`), and
        the others go on.
        """
        if recipe.count != len(sources):
            raise ValueError(f"{len(sources)} models and weights for {recipe.count}")
        self.sources = tuple(sources)
        self.recipe = recipe
        self.names = distinct(names or [source.name for source in sources])
        first = sources[0].vocabulary
        one = len({source.vocabulary.fingerprint for source in sources}) == 1
        self.by_id = one and not bytewise
        """All share one vocabulary; otherwise the mix is one of bytes."""
        self.vocabulary: Vocabulary = first if self.by_id else ByteVocabulary()
        self._voices: tuple[Voice, ...] = tuple(
            IdVoice(source, first.prefix) if self.by_id else ByteVoice(source, dropped)
            for source in sources
        )
        able = [source.capabilities for source in sources]
        self.exact = all(one.full_vocabulary for one in able)
        """Every model's whole vocabulary is known; otherwise the mix is approximate."""
        self.capabilities = Capabilities(
            full_vocabulary=self.exact,
            top=min((one.top for one in able if one.top is not None), default=None),
            batch=min(one.batch for one in able),
            context=min(one.context for one in able) * (1 if self.by_id else BYTES),
            pieces=1 if self.by_id else BYTES,
        )
        self.unknown = 0.0
        """The most mass that any answer so far only estimated."""
        self.forgiving = forgiving
        self.lost: dict[int, LltermError] = {}
        """Models that failed, by index: they count as weight 0 until they are tried again."""
        self._begin: int | None = None
        self._looked: OrderedDict[tuple[Tail, Recipe], Blend] = OrderedDict()
        self._asking = asyncio.Lock()
        self._looking = asyncio.Lock()

    @property
    def name(self) -> str:
        return " + ".join(self.names)

    @property
    def in_force(self) -> Recipe:
        """The recipe less the models that are lost. Raises LltermError where none is left."""
        if not self.lost:
            return self.recipe
        pool = self.recipe.pool
        weights = [0.0 if n in self.lost else weight for n, weight in enumerate(pool.weights)]
        if self.recipe.mode == "reference" and self.recipe.reference in self.lost:
            raise self.lost[self.recipe.reference]
        try:
            return replace(self.recipe, pool=replace(pool, weights=tuple(weights)))
        except UsageError:
            raise next(iter(self.lost.values())) from None

    @property
    def formula(self) -> str:
        """What decides, in one line."""
        try:
            return self.in_force.formula(self.names)
        except LltermError as error:
            return error.title

    def retry(self) -> None:
        """Let the models that failed speak again."""
        self.lost.clear()
        self._looked.clear()

    @property
    def spent(self) -> Cost:
        return sum((source.spent for source in self.sources), Cost())

    async def close(self) -> None:
        for source in self.sources:
            await source.close()

    def begin(self, anchor: Anchor) -> None:
        """Count turns from the end of this text on."""
        self._begin = len(anchor.tokens)

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        asked = {query.path: query for query in queries}
        wanted = {path: self.in_force.speakers(self._position(path)) for path in asked}
        before = len(self.lost)
        async with aclosing(self._listen(wanted)) as heard:
            async for ready in heard:
                if len(self.lost) > before:
                    # One search is of one mix: the next one does without the model.
                    raise next(reversed(self.lost.values()))
                done = {path: one for path, one in ready.items() if one.error is None}
                found = await asyncio.to_thread(self._facts, done, asked)
                for path, one in ready.items():
                    yield Failed(path, one.error) if one.error is not None else found[path]

    async def blends(self, paths: Sequence[Path]) -> AsyncGenerator[tuple[Path, Blend]]:
        """What every model says after each path, and what the mix makes of it.

        Raises LltermError where one of them cannot say anything.
        """
        weights = self.in_force.pool.weights
        everyone = tuple(n for n, weight in enumerate(weights) if weight or self._leads(n))
        async with aclosing(self._listen(dict.fromkeys(paths, everyone))) as heard:
            async for ready in heard:
                for path, one in ready.items():
                    if one.error is not None:
                        raise one.error
                    yield path, await asyncio.to_thread(self._blend, path, one.heard)

    async def look(self, path: Path) -> Blend:
        """`blends` of one path. The last few are kept: a token is drawn from what is on show."""
        async with self._looking:
            key = path.tokens, self.in_force
            if key not in self._looked:
                async with aclosing(self.blends([path])) as blends:
                    found = (await anext(blends))[1]
                key = path.tokens, self.in_force
                self._looked[key] = found
                if len(self._looked) > LOOKED:
                    self._looked.popitem(last=False)
            return self._looked[key]

    def giver(self, blend: Blend, id: int) -> str:
        """Name of the model that a token comes from; empty where the mix found it."""
        index = blend.giver(id)
        return "" if index is None else self.names[index]

    async def score(self, tokens: Tail, start: int = 1, keep: int = 64) -> AsyncGenerator[Scored]:
        first = max(start, 1)
        if self.by_id and all(isinstance(source, Whole) for source in self.sources):
            async for found in self._score_rows(tokens, first, keep):
                yield found
            return
        anchor = Anchor(tokens[:first])
        paths = {Path(anchor, tokens[first:index]): index for index in range(first, len(tokens))}
        waiting: dict[int, Fact] = {}
        following = first
        queries = [Query(path, keep, full=True) for path in paths]
        async with aclosing(self.ask(queries)) as answers:
            async for answer in answers:
                if isinstance(answer, Failed):
                    raise answer.error
                waiting[paths[answer.path]] = answer
                while (fact := waiting.pop(following, None)) is not None:
                    id = tokens[following]
                    yield _scored(following, id, fact.distribution, fact.cost)
                    following += 1

    async def _score_rows(self, tokens: Tail, first: int, keep: int) -> AsyncGenerator[Scored]:
        """`score` where every model reads the text by itself, a part at a time."""
        aside = len(tokens) - first <= PART
        for begin in range(first, len(tokens), PART):
            part = tokens[: begin + PART]
            indices = range(begin, len(part))
            needed = sorted({one for index in indices for one in self._speakers(index)})
            before = self.spent
            read = await asyncio.gather(
                *(rows_of(self.sources[one], part, begin, aside=aside) for one in needed)
            )
            rows = dict(zip(needed, map(normalised, read), strict=True))
            cost = self.spent - before
            for index in indices:
                voices = np.stack([rows[one][index - begin] for one in self._speakers(index)])
                row = self.in_force.decide(voices, self._since(index))
                distribution = distribution_of(row, keep, full=True, exact=self.exact)
                yield _scored(index, tokens[index], distribution, cost)
                cost = Cost()

    def _since(self, index: int) -> int:
        """Tokens from the beginning of the mix to this index."""
        return index - (self._begin or 0)

    def _speakers(self, index: int) -> tuple[int, ...]:
        return self.in_force.speakers(self._since(index))

    def _position(self, path: Path) -> int:
        """Tokens since the mix began: the text that was first asked about is the beginning."""
        if self._begin is None:
            self.begin(path.anchor)
        return self._since(len(path.anchor.tokens) + len(path.tail))

    def _leads(self, index: int) -> bool:
        return self.recipe.mode == "reference" and index == self.recipe.reference

    def _facts(
        self, done: Mapping[Path, _Hearing], asked: Mapping[Path, Query]
    ) -> dict[Path, Fact | Failed]:
        found: dict[Path, Fact | Failed] = {}
        for path, one in done.items():
            query = asked[path]
            try:
                blend = self._blend(path, one.heard)
            except LltermError as error:
                found[path] = Failed(path, error)
                continue
            self.unknown = max(self.unknown, blend.unknown)
            unknown = 0.0 if blend.exact else blend.unknown
            distribution = distribution_of(
                blend.row, query.keep, query.mask,
                full=query.full, exact=blend.exact, unknown=unknown,
            )  # fmt: skip
            found[path] = Fact(path, distribution, one.cost)
        return found

    def _blend(self, path: Path, heard: Mapping[int, Heard]) -> Blend:
        position, recipe = self._position(path), self.in_force
        speakers = recipe.speakers(position)
        voices = np.stack([heard[index].row for index in speakers])
        silent = Heard(np.full(voices.shape[1], -np.inf), exact=False, unknown=1.0)
        return Blend(
            recipe.decide(voices, position),
            tuple(heard.get(index, silent) for index in range(len(self.sources))),
            speakers,
        )

    async def _listen(
        self, wanted: Mapping[Path, Iterable[int]]
    ) -> AsyncGenerator[dict[Path, _Hearing]]:
        """Ask each model about the paths it is wanted for; paths of which all is known, as they
        come, several at a time where they come fast."""
        paths: dict[int, list[Path]] = {}
        hearings: dict[Path, _Hearing] = {}
        for path, indices in wanted.items():
            hearings[path] = _Hearing()
            for index in indices:
                hearings[path].left += 1
                paths.setdefault(index, []).append(path)
        queue: asyncio.Queue[_Said] = asyncio.Queue()
        async with self._asking:
            tasks = [
                asyncio.create_task(self._pump(index, of, queue)) for index, of in paths.items()
            ]
            running = len(tasks)
            try:
                while running:
                    ready: dict[Path, _Hearing] = {}
                    while running and (not ready or not queue.empty()):
                        index, said = await queue.get()
                        if said is None:
                            running -= 1
                        elif isinstance(said, LltermError):
                            self._lose(index, said)
                            unheard = [path for path in paths[index] if path in hearings]
                            silent = [(path, said, Cost()) for path in unheard
                                      if index not in hearings[path].heard]  # fmt: skip
                            ready |= self._take_all(index, silent, hearings)
                        else:
                            ready |= self._take_all(index, [said], hearings)
                    if ready:
                        yield ready
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _pump(self, index: int, paths: Sequence[Path], queue: asyncio.Queue[_Said]) -> None:
        """Carry what one model says to the queue, then None."""
        try:
            async with aclosing(self._voices[index].hear(paths)) as answers:
                async for answer in answers:
                    queue.put_nowait((index, answer))
        except LltermError as error:
            queue.put_nowait((index, error))
        queue.put_nowait((index, None))

    def _lose(self, index: int, error: LltermError) -> None:
        """Leave a model out from now on. Raises the error where that is not wanted."""
        if not self.forgiving:
            raise error
        self.lost[index] = error

    def _take_all(
        self, index: int, answers: Iterable[Answer], hearings: dict[Path, _Hearing]
    ) -> dict[Path, _Hearing]:
        """Note what a model said; the paths about which all has been said now."""
        ready: dict[Path, _Hearing] = {}
        for path, said, cost in answers:
            hearing = hearings[path]
            hearing.left -= 1
            hearing.cost += cost
            if isinstance(said, Heard):
                hearing.heard[index] = said
            elif self.forgiving:
                self._lose(index, said)
            else:
                hearing.error = said
            if not hearing.left:
                ready[path] = hearings.pop(path)
        return ready


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """The names, numbered where the same one occurs again."""
    found: list[str] = []
    for name in names:
        other, number = name, 1
        while other in found:
            number += 1
            other = f"{name} ({number})"
        found.append(other)
    return tuple(found)


def _scored(index: int, id: int, found: Distribution, cost: Cost) -> Scored:
    row = found.full
    assert row is not None
    own = row[id]
    rank = 1 + int((row > own).sum()) + int((row[:id] == own).sum())
    return Scored(index, id, float(own), rank, found, cost)
