"""Models as a mix hears them: over ids that all share, or over bytes."""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from llterm.core.bans import incomplete
from llterm.core.distribution import Distribution
from llterm.core.healing import residue_of
from llterm.core.mixing.blend import MemberDistribution
from llterm.core.mixing.byte_distribution import DROPPED, BytePosition, SortedTokens
from llterm.core.mixing.logprob_rows import row_of
from llterm.core.query import Cost, Fact, Failed, Query, Source
from llterm.core.tokens import (
    Anchor,
    Draft,
    LearnsTokens,
    Path,
    Tail,
    Vocabulary,
    draft_tokens,
    grows,
)
from llterm.core.windows import first_seen
from llterm.engine.prompt_heads import PromptHeads
from llterm.errors import LltermError

Answer = tuple[Path, MemberDistribution | LltermError, Cost]

LISTED = 1000
"""Candidates asked of a source that lists only the best ones and names no limit."""
HELD = 8_000_000
"""Numbers that the places of one model may hold: 64 MB."""
ANCHORS = 2
"""Texts whose places are kept: the story before an accept or an edit, and after it."""


class Member(Protocol):
    """One model of a mix."""

    heads: PromptHeads

    def hear(self, paths: Sequence[Path]) -> AsyncGenerator[Answer]:
        """Its distribution over the mix's alphabet after each path, in any order."""


class TokenMember:
    """A model whose vocabulary is the mix's own."""

    def __init__(
        self, source: Source, alphabet: Vocabulary, company: Sequence[LearnsTokens] = ()
    ) -> None:
        """`alphabet`: the mix's vocabulary; this model may want another prefix. `company`: the
        vocabularies that are to know what this model's server tells of its tokens."""
        self.heads = PromptHeads()
        self._source = source
        self._alphabet = alphabet
        self._company = company
        self._anchors: OrderedDict[Anchor, Anchor] = OrderedDict()

    async def hear(self, paths: Sequence[Path]) -> AsyncGenerator[Answer]:
        own = {Path(self._anchor(path.anchor), path.tail): path for path in paths}
        queries = [query_of(self._source, path) for path in own]
        async with aclosing(self._source.ask(queries)) as answers:
            async for answer in answers:
                if isinstance(answer, Failed):
                    yield own[answer.path], answer.error, Cost()
                    continue
                yield own[answer.path], self._heard(answer.distribution), answer.cost

    def _heard(self, distribution: Distribution) -> MemberDistribution:
        vocabulary = self._source.vocabulary
        whole = self._source.capabilities.full_vocabulary
        unknown = 0.0 if whole else distribution.rest
        ids = distribution.ids
        if not isinstance(vocabulary, LearnsTokens) or vocabulary.whole:
            row = row_of(distribution, vocabulary.size)
            return MemberDistribution(row, whole, unknown, ids)
        tokens = [vocabulary.token(id) for id in ids.tolist()]
        for other in self._company:
            other.learn(tokens)
        left = vocabulary.bound - len(ids)
        beyond = math.log(unknown / left) if left > 0 and unknown > 0 else -math.inf
        row = row_of(distribution, vocabulary.bound)
        return MemberDistribution(row, whole, unknown, ids, candidates=ids, beyond=beyond)

    def own(self, tokens: Tail) -> Tail:
        """A text of the mix as this model reads it: begun with its own chat, or its own prefix."""
        prefix, usual = self._source.vocabulary.prefix, self._alphabet.prefix
        if (split := self.heads.split(tokens)) is not None:
            return split[0] + split[1]
        if prefix != usual and tokens[: len(usual)] == usual:
            return prefix + tokens[len(usual) :]
        return tokens

    def _anchor(self, anchor: Anchor) -> Anchor:
        if anchor not in self._anchors:
            tokens = self.own(anchor.tokens)
            teach(self._source.vocabulary, tokens, self._alphabet)
            self._anchors[anchor] = anchor if tokens == anchor.tokens else Anchor(tokens)
            _shorten(self._anchors, ANCHORS)
        return self._anchors[anchor]


@dataclass(slots=True, eq=False)
class _Ground:
    """An anchor in the model's own tokens, and the places after it."""

    anchor: Anchor
    begun: bytes
    """The last word of the anchor's text, left to be spelled: where it ends a token is unknown."""
    places: OrderedDict[bytes, BytePosition] = field(default_factory=OrderedDict)
    """By the bytes after the anchor's tokens, the longest unused first."""


class ByteMember:
    """A model with a vocabulary of its own, heard byte by byte."""

    def __init__(self, source: Source, dropped: float = DROPPED) -> None:
        """Paths that spell the text with a smaller share than `dropped` of the mass are dropped."""
        self.heads = PromptHeads()
        self._source = source
        self._dropped = dropped
        self._grows = grows(source.vocabulary)
        self._pieces: SortedTokens | None = None
        """All of the vocabulary, where it is whole."""
        self._grounds: OrderedDict[Anchor, _Ground] = OrderedDict()

    async def hear(self, paths: Sequence[Path]) -> AsyncGenerator[Answer]:
        if self._pieces is None and not self._grows:
            self._pieces = await asyncio.to_thread(SortedTokens.of, self._source.vocabulary)
        waiting, cost = list(paths), Cost()
        failed: dict[BytePosition, LltermError] = {}
        while waiting:
            unasked: dict[Path, list[BytePosition]] = {}
            still: list[Path] = []
            for path in waiting:
                ground = await self._ground(path.anchor)
                place, arrived = await self._reach(ground, ground.begun + bytes(path.tail))
                if place in failed:
                    yield path, failed[place], Cost()
                elif arrived:
                    yield path, self._heard(place), cost
                    cost = Cost()
                else:
                    still.append(path)
                    for tail in place.unasked:
                        unasked.setdefault(Path(ground.anchor, tail), []).append(place)
            waiting = still
            cost += await self._ask(unasked, failed)
        self._forget()

    async def _ask(
        self,
        unasked: Mapping[Path, Sequence[BytePosition]],
        failed: dict[BytePosition, LltermError],
    ) -> Cost:
        """Let the places learn what follows these token paths."""
        if not unasked:
            return Cost()
        cost = Cost()
        queries = [query_of(self._source, path) for path in unasked]
        async with aclosing(self._source.ask(queries)) as answers:
            async for answer in answers:
                for place in unasked[answer.path]:
                    if isinstance(answer, Failed):
                        failed[place] = answer.error
                        continue
                    self._learn(place, answer.path.tail, answer.distribution)
                if isinstance(answer, Fact):
                    cost += answer.cost
        return cost

    def _learn(self, place: BytePosition, tail: Tail, distribution: Distribution) -> None:
        whole, vocabulary = self._source.capabilities.full_vocabulary, self._source.vocabulary
        unknown = 0.0 if whole else distribution.rest
        pieces = self._pieces
        if pieces is not None:
            p = np.exp(np.asarray(row_of(distribution, vocabulary.size), np.float64))
        else:
            # Of what it does not list nobody knows the bytes: it stays unknown.
            pieces = SortedTokens([vocabulary.token(id) for id in distribution.ids.tolist()])
            p = np.zeros(int(distribution.ids.max(initial=-1)) + 1)
            p[distribution.ids] = np.exp(distribution.logprobs.astype(np.float64))
        place.learn(tail, pieces, p, unknown)

    def _heard(self, place: BytePosition) -> MemberDistribution:
        whole = self._source.capabilities.full_vocabulary
        return MemberDistribution(
            place.row(spread=not whole),
            whole,
            place.unknown,
            candidates=place.told if self._grows else None,
        )

    async def _reach(self, ground: _Ground, text: bytes) -> tuple[BytePosition, bool]:
        """The farthest place on the way to `text` that can be reached without asking the model,
        and whether it is the one after all of it."""
        size = len(text)
        while text[:size] not in ground.places:
            if not size:
                ground.places[b""] = BytePosition.first()
                break
            size -= 1
        place = ground.places[text[:size]]
        while size < len(text) and not place.unasked:
            following = place.after(text[size], self._dropped)
            size += 1
            if following is None:
                following = await self._anew(text[:size])
            place = ground.places[text[:size]] = following
        ground.places.move_to_end(text[:size])
        return place, size == len(text) and not place.unasked

    async def _anew(self, text: bytes) -> BytePosition:
        """The place after a text that the model holds impossible, or did not list."""
        if self._grows and incomplete(text):
            # No server can be asked what follows half a character that it did not begin itself.
            return BytePosition.silent()
        return BytePosition.anew(await draft_tokens(Draft((text,)), self._source.vocabulary))

    async def _ground(self, anchor: Anchor) -> _Ground:
        """The anchor's text in the model's tokens, as much of its end as the model can see.

        The last word is left out: it is spelled after the anchor, so that a text means the same
        wherever the anchor ends in a word.
        """
        ground = self._grounds.get(anchor)
        if ground is None:
            vocabulary = self._source.vocabulary
            head, rest = self.heads.split(anchor.tokens) or (vocabulary.prefix, anchor.tokens)
            text = bytes(rest)
            begun = residue_of(text)
            ids = await draft_tokens(Draft((text[: len(text) - len(begun)],)), vocabulary)
            if not ids and not head:
                ids, begun = await draft_tokens(Draft((text,)), vocabulary), b""
            start = first_seen(len(ids), len(head), self._source.capabilities.context)
            ground = _Ground(Anchor(head + ids[start:]), begun)
            self._grounds[anchor] = ground
        self._grounds.move_to_end(anchor)
        _shorten(self._grounds, ANCHORS)
        return ground

    def _forget(self) -> None:
        """Let go of the places that were not looked at for longest, down to the limit."""
        for ground in reversed(self._grounds.values()):
            held = sum(place.size for place in ground.places.values())
            while held > HELD:
                _, place = ground.places.popitem(last=False)
                held -= place.size


def teach(vocabulary: Vocabulary, tokens: Tail, other: Vocabulary) -> None:
    """Tell a vocabulary that is told token by token what `other`, which is the same, knows of these
    tokens: another server was asked for them."""
    if isinstance(vocabulary, LearnsTokens):
        strange = [id for id in tokens if not vocabulary.knows(id)]
        vocabulary.learn(token for token in map(other.token, strange) if token.data)


def query_of(source: Source, path: Path) -> Query:
    """Ask for all that a source can say at a path."""
    able = source.capabilities
    if able.full_vocabulary:
        return Query(path, keep=1, full=True)
    return Query(path, keep=able.top or LISTED)


def _shorten(texts: OrderedDict[Anchor, Any], most: int) -> None:
    while len(texts) > most:
        texts.popitem(last=False)
