"""A mix of several models as one source: searches, reading and sessions ask it like any other.

Models of one vocabulary are mixed token by token. Others are mixed byte by byte: the mix's tokens
are then bytes, and every model stays in step with them.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, aclosing, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from llterm.backends.registry import Progress, find_model, open_model
from llterm.config import Config
from llterm.core.chat_messages import Chat, ChatParts, ChatsTold, chat_draft
from llterm.core.comparison.divergence import log_softmax
from llterm.core.conversation import THOUGHTLESS, ChatTraits, Conversation, WritesChats
from llterm.core.distribution import Distribution
from llterm.core.kernels import of_several
from llterm.core.mixing.blend import Blend, MemberDistribution, named
from llterm.core.mixing.byte_distribution import DROPPED, ByteVocabulary, byte_parts
from llterm.core.mixing.logprob_rows import distribution_of
from llterm.core.mixing.mix_recipe import Recipe
from llterm.core.query import (
    Backend,
    Capabilities,
    Cost,
    Fact,
    Failed,
    OnServers,
    ProvidesLogits,
    Query,
    TokenScore,
)
from llterm.core.reasoning_markers import after_thoughts
from llterm.core.server_news import HearNews, ServerNews
from llterm.core.tokens import (
    Anchor,
    LearnsTokens,
    Path,
    Tail,
    Vocabulary,
    draft_tokens,
    grows,
)
from llterm.engine.ensemble import Ensemble, PathVotes
from llterm.engine.members import ByteMember, Member, TokenMember
from llterm.engine.prompt_heads import chat_traits, open_chat, opened_chat, written_chat
from llterm.engine.whole_rows import PART, Numbers, rows_of
from llterm.errors import LltermError, UsageError

LOOKED = 4
"""Blends that are kept."""
BYTES = 4
"""Bytes a token, about: how much text a mix of bytes takes for a model's context."""


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

        `dropped`: see `ByteMember`; 0 makes bytes exact at any cost. `bytewise`: mix bytes also
        where the vocabularies are one. `forgiving`: a model that fails is left out (`lost`), and
        the others go on.
        """
        if recipe.count != len(sources):
            raise ValueError(f"{len(sources)} models and weights for {recipe.count}")
        self.sources = tuple(sources)
        self.recipe = recipe
        self.names = distinct(names or [source.name for source in sources])
        first = sources[0].vocabulary
        shared = len({source.vocabulary.fingerprint for source in sources}) == 1
        self.by_id = shared and not bytewise
        """All share one vocabulary; otherwise the mix is one of bytes."""
        self.vocabulary: Vocabulary = first if self.by_id else ByteVocabulary()
        company = [one.vocabulary for one in sources if isinstance(one.vocabulary, LearnsTokens)]
        self._voices: tuple[Member, ...] = tuple(
            TokenMember(source, first, company) if self.by_id else ByteMember(source, dropped)
            for source in sources
        )
        able = [source.capabilities for source in sources]
        ordered = any(each.ordered for each in able)
        self.exact = all(each.full_vocabulary for each in able)
        """Every model's whole vocabulary is known; otherwise the mix is approximate."""
        self.capabilities = Capabilities(
            full_vocabulary=self.exact,
            top=min((each.top for each in able if each.top is not None), default=None),
            masks=not grows(self.vocabulary),
            batch=min(each.batch for each in able),
            context=min(each.context for each in able) * (1 if self.by_id else BYTES),
            pieces=1 if self.by_id else BYTES,
            ordered=ordered,
            anchored=any(each.anchored for each in able),
            # A byte takes several questions to a model: those of two rounds would mingle.
            rounds=1 if ordered and not self.by_id else 2,
            kernels=of_several(each.kernels for each in able),
        )
        self.unknown = 0.0
        """The most mass that any answer so far only estimated."""
        self.news = ServerNews()
        """Its models' servers, and a word whenever a model is left out, back or waited for."""
        self.company = Ensemble(
            self._voices, sources, forgiving=forgiving, spared=self._spared, changed=self._regroup
        )
        """The models as they are asked. One that is left out counts as weight 0."""
        self._end_listening = [
            source.news.listen(self._tell) for source in sources if isinstance(source, OnServers)
        ]
        self.chat_reader = ""
        """Name of the model whose chat `open_chat` told last."""
        self._begin: int | None = None
        self._search: Anchor | None = None
        self._looked: OrderedDict[tuple[Tail, Recipe, int], Blend] = OrderedDict()
        self._looking = asyncio.Lock()

    @property
    def name(self) -> str:
        return " + ".join(self.names)

    @property
    def in_force(self) -> Recipe:
        """The recipe less the models that are left out. Raises LltermError where none is left."""
        lost = self.company.lost
        if not lost:
            return self.recipe
        if (found := self._without(lost)) is not None:
            return found
        leading = self.recipe.reference if self._leads(self.recipe.reference) else next(iter(lost))
        raise lost[leading].error

    @property
    def able(self) -> bool:
        """Whether it can say anything without the models that are left out."""
        return self._without(self.company.lost) is not None

    def _tell(self) -> None:
        """What is known of each model's server, under the name that the model has here."""
        lost = self.company.lost if self.able else {}
        self.news.tell(
            [
                replace(one, model=name, phase="spared" if index in lost else one.phase)
                for index, (name, source) in enumerate(zip(self.names, self.sources, strict=True))
                if isinstance(source, OnServers)
                for one in source.news.absences
            ]
        )

    def _regroup(self) -> None:
        self._tell()
        self.news.stir()

    def _without(self, lost: Collection[int]) -> Recipe | None:
        """The recipe less these models; None where it makes no mix."""
        recipe = self.recipe
        if any(map(self._leads, lost)):
            return None
        weights = (0.0 if n in lost else one for n, one in enumerate(recipe.pool.weights))
        try:
            return replace(recipe, pool=replace(recipe.pool, weights=tuple(weights)))
        except UsageError:
            return None

    def _spared(self, index: int) -> bool:
        """Whether the others can go on without a model."""
        return self._without({*self.company.lost, index}) is not None

    @property
    def formula(self) -> str:
        """What decides, in one line."""
        try:
            return self.in_force.formula(self.names)
        except LltermError as error:
            return error.title

    def retry(self) -> None:
        """Let the models that were left out speak again."""
        self.company.recall(self.company.lost)
        self._looked.clear()

    def admit(self) -> None:
        """Let those of them speak again that answer."""
        if self.company.back:
            self.company.admit()
            self._looked.clear()

    # --- chats

    @property
    def chat_format(self) -> str:
        """What each model's template is called, for people."""
        formats = [chat_traits(source).name for source in self.sources]
        if len(set(formats)) == 1:
            return formats[0]
        return ", ".join(f"{name}: {one}" for name, one in zip(self.names, formats, strict=True))

    def open_chat(self, chat: Chat) -> ChatParts | None:
        """The chat as the model reads it for which it is longest; each model reads its own. None
        where one of them is not there yet.

        Raises LltermError where a model cannot open it.
        """
        opened: list[ChatParts] = []
        own: list[Tail] = []
        for source, name in zip(self.sources, self.names, strict=True):
            with _named(name):
                parts = open_chat(source, chat)
            if parts is not None:
                tokens = chat_draft(parts, source.vocabulary).known(source.vocabulary)
                opened.append(parts)
                own += [] if tokens is None else [tokens]
        if len(own) < len(self.sources):
            return None
        parts = self._longest(opened, own)
        head = chat_draft(parts, self.vocabulary).known(self.vocabulary)
        return None if head is None else self._begun_by_all(parts, head, own)

    async def opened_chat(self, chat: Chat) -> ChatParts:
        """The same; waits until all are there."""
        opened: list[ChatParts] = []
        for source, name in zip(self.sources, self.names, strict=True):
            with _named(name):
                opened.append(await opened_chat(source, chat))
        return await self._all_opened(opened)

    @property
    def chat_traits(self) -> ChatTraits:
        """Of all its models: their chats are known where each one's are."""
        traits = [chat_traits(source) for source in self.sources]
        stops = dict.fromkeys(stop for each in traits for stop in each.stops)
        known = all(each.known for each in traits)
        return ChatTraits(self.chat_format, known=known, stops=(*stops,))

    async def written_chat(self, conversation: Conversation) -> ChatParts:
        """A conversation as the model reads it for which it is longest; each model reads its own,
        up to where its answer begins: a mix has no thoughts. Raises LltermError."""
        variables = {**THOUGHTLESS, **conversation.variables}
        opened: list[ChatParts] = []
        for source, name in zip(self.sources, self.names, strict=True):
            with _named(name):
                if isinstance(source, WritesChats):
                    own = await source.written_chat(replace(conversation, variables=variables))
                else:
                    own = await written_chat(source, conversation)
            opened.append(after_thoughts(own))
        return await self._all_opened(opened)

    async def _all_opened(self, opened: Sequence[ChatParts]) -> ChatParts:
        own: list[Tail] = []
        for source, parts in zip(self.sources, opened, strict=True):
            draft = chat_draft(parts, source.vocabulary)
            own.append(await draft_tokens(draft, source.vocabulary))
        parts = self._longest(opened, own)
        head = await draft_tokens(chat_draft(parts, self.vocabulary), self.vocabulary)
        return self._begun_by_all(parts, head, own)

    def _longest(self, opened: Sequence[ChatParts], own: Sequence[Tail]) -> ChatParts:
        """The parts of whom the chat is longest for, in the mix's alphabet: the window over a long
        reply leaves room for any of them then."""
        longest = max(range(len(own)), key=lambda index: len(own[index]))
        self.chat_reader = self.names[longest]
        return opened[longest] if self.by_id else byte_parts(opened[longest])

    def _begun_by_all(self, parts: ChatParts, head: Tail, own: Sequence[Tail]) -> ChatParts:
        """Texts that begin with `head` begin with its own tokens for each model."""
        for voice, tokens in zip(self._voices, own, strict=True):
            voice.heads.learn(head, tokens)
        return parts

    def hear_chats(self, listener: Callable[[], None]) -> None:
        """Have `listener` called when a chat of any of them is there."""
        for source in self.sources:
            if isinstance(source, ChatsTold):
                source.hear_chats(listener)

    @property
    def spent(self) -> Cost:
        return sum((source.spent for source in self.sources), Cost())

    async def close(self) -> None:
        await self.leave()
        for source in self.sources:
            await source.close()

    async def leave(self) -> None:
        """End the mix; its models stay open, for who had them before."""
        for end in self._end_listening:
            end()
        await self.company.close()

    def begin(self, anchor: Anchor) -> None:
        """Count turns from the end of this text on."""
        self._begin = len(anchor.tokens)

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        asked = {query.path: query for query in queries}
        self._begin_search(queries)
        wanted = {path: self.in_force.speakers(self._position(path)) for path in asked}
        before = set(self.company.lost)
        async with aclosing(self.company.listen(wanted, patient=True)) as heard:
            async for ready in heard:
                if gone := set(self.company.lost) - before:
                    # One search is of one mix: the next one does without the model.
                    raise self.company.lost[min(gone)].error
                done = {path: hearing for path, hearing in ready.items() if hearing.error is None}
                facts = await asyncio.to_thread(self._facts, done, asked)
                for path, hearing in ready.items():
                    yield Failed(path, hearing.error) if hearing.error is not None else facts[path]

    async def blends(self, paths: Sequence[Path]) -> AsyncGenerator[tuple[Path, Blend]]:
        """What every model says after each path, and what the mix makes of it.

        Raises LltermError where one of them cannot say anything.
        """
        self.admit()
        weights = self.in_force.pool.weights
        everyone = tuple(n for n, weight in enumerate(weights) if weight or self._leads(n))
        async with aclosing(
            self.company.listen(dict.fromkeys(paths, everyone), patient=False)
        ) as heard:
            async for ready in heard:
                for path, hearing in ready.items():
                    if hearing.error is not None:
                        raise hearing.error
                    yield path, await asyncio.to_thread(self._blend, path, hearing.heard)

    async def look(self, path: Path) -> Blend:
        """`blends` of one path. The last few are kept: a token is drawn from what is on show."""
        async with self._looking:
            self.admit()
            key = path.tokens, self.in_force, self._size
            if key not in self._looked:
                async with aclosing(self.blends([path])) as blends:
                    blend = (await anext(blends))[1]
                key = path.tokens, self.in_force, self._size
                self._looked[key] = blend
                if len(self._looked) > LOOKED:
                    self._looked.popitem(last=False)
            return self._looked[key]

    def giver(self, blend: Blend, id: int) -> str:
        """Name of the model that a token comes from; empty where the mix found it."""
        index = blend.giver(id)
        return "" if index is None else self.names[index]

    async def score(
        self, tokens: Tail, start: int = 1, keep: int = 64
    ) -> AsyncGenerator[TokenScore]:
        first = max(start, 1)
        if self.by_id and all(isinstance(source, ProvidesLogits) for source in self.sources):
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

    async def _score_rows(self, tokens: Tail, first: int, keep: int) -> AsyncGenerator[TokenScore]:
        """`score` where every model reads the text by itself, a part at a time."""
        aside = len(tokens) - first <= PART
        for begin in range(first, len(tokens), PART):
            part = tokens[: begin + PART]
            indices = range(begin, len(part))
            needed = sorted({model for index in indices for model in self._speakers(index)})
            before = self.spent
            read = await asyncio.gather(
                *(self._rows(model, part, begin, aside=aside) for model in needed)
            )
            rows = dict(zip(needed, map(log_softmax, read), strict=True))
            cost = self.spent - before
            for index in indices:
                voices = np.stack([rows[model][index - begin] for model in self._speakers(index)])
                row = self.in_force.decide(voices, self._since(index))
                distribution = distribution_of(row, keep, full=True, exact=self.exact)
                yield _scored(index, tokens[index], distribution, cost)
                cost = Cost()

    async def _rows(self, index: int, tokens: Tail, first: int, *, aside: bool) -> Numbers:
        """`rows_of` one of the models, of a text that it begins in its own way."""
        voice = self._voices[index]
        own = voice.own(tokens) if isinstance(voice, TokenMember) else tokens
        begin = first + len(own) - len(tokens)
        return await rows_of(self.sources[index], own, begin, aside=aside)

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

    def _begin_search(self, queries: Sequence[Query]) -> None:
        """One search is of one mix: who answers again has a part in the next one."""
        anchor = queries[0].path.anchor if queries else None
        if anchor is not self._search:
            self._search = anchor
            self.admit()

    def _leads(self, index: int) -> bool:
        return self.recipe.mode == "reference" and index == self.recipe.reference

    def _facts(
        self, done: Mapping[Path, PathVotes], asked: Mapping[Path, Query]
    ) -> dict[Path, Fact | Failed]:
        facts: dict[Path, Fact | Failed] = {}
        for path, hearing in done.items():
            query = asked[path]
            try:
                blend = self._blend(path, hearing.heard)
            except LltermError as error:
                facts[path] = Failed(path, error)
                continue
            self.unknown = max(self.unknown, blend.unknown)
            distribution = blend.listing(query.keep, query.mask, full=query.full)
            facts[path] = Fact(path, distribution, hearing.cost)
        return facts

    def _blend(self, path: Path, heard: Mapping[int, MemberDistribution]) -> Blend:
        position, recipe = self._position(path), self.in_force
        speakers = recipe.speakers(position)
        size = max(self._size, *(len(one.row) for one in heard.values()))
        told = {index: one.as_long_as(size) for index, one in heard.items()}
        voices = [told[index] for index in speakers]
        row = recipe.decide(np.stack([one.row for one in voices]), position)
        silent = MemberDistribution(np.full(size, -np.inf), exact=False, unknown=1.0)
        return Blend(
            named(row, voices),
            tuple(told.get(index, silent) for index in range(len(self.sources))),
            speakers,
            whole=not grows(self.vocabulary),
        )

    @property
    def _size(self) -> int:
        """How many ids rows have; of a vocabulary that is not whole those that can be known."""
        known = self.vocabulary
        if isinstance(known, LearnsTokens) and not known.whole:
            return known.bound
        return known.size


@contextmanager
def _named(name: str) -> Iterator[None]:
    """An error in here says which model it is of."""
    try:
        yield
    except LltermError as error:
        raise error.reworded(
            error.title if name in error.title else f"{name}: {error.title}"
        ) from error


def distinct(names: Sequence[str]) -> tuple[str, ...]:
    """The names, numbered where the same one occurs again."""
    numbered: list[str] = []
    for name in names:
        other, number = name, 1
        while other in numbered:
            number += 1
            other = f"{name} ({number})"
        numbered.append(other)
    return tuple(numbered)


def _scored(index: int, id: int, distribution: Distribution, cost: Cost) -> TokenScore:
    row = distribution.full
    if row is None:
        listed = distribution.ids.tolist()
        at = listed.index(id) if id in listed else len(listed)
        told = float(distribution.logprobs[at]) if at < len(listed) else -math.inf
        return TokenScore(index, id, told, at + 1, distribution, cost)
    own = float(row[id])
    rank = 1 + int((row > row[id]).sum()) + int((row[:id] == row[id]).sum())
    return TokenScore(index, id, own, rank, distribution, cost)


async def open_models(
    names: Sequence[str],
    config: Config,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    hear: HearNews | None = None,
) -> list[Backend]:
    """All of them, or none: one that cannot be opened closes those before it. Raises ModelError."""
    async with AsyncExitStack() as opened:
        backends: list[Backend] = []
        for name in names:
            backend = await open_model(name, config, overrides, progress, hear)
            opened.push_async_callback(backend.close)
            backends.append(backend)
        opened.pop_all()
        return backends


async def open_mix(
    names: Sequence[str],
    recipe: Recipe,
    config: Config,
    overrides: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    hear: HearNews | None = None,
    *,
    forgiving: bool = False,
) -> Mix:
    """The models as one source; `forgiving`: see `Mix`. Raises ModelError."""
    known = [find_model(name, config).name for name in names]
    backends = await open_models(names, config, overrides, progress, hear)
    return Mix(backends, recipe, names=known, forgiving=forgiving)
