"""A deterministic little model for tests, demos and pictures: word trigrams of a story of our own.

It answers like a real one (whole vocabulary, byte fallback, an end token), needs no file, and says
the same on every machine.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from functools import cached_property

import numpy as np

from llterm.core.chat_messages import Chat, ChatParts
from llterm.core.conversation import (
    PLAIN_STOPS,
    ChatTraits,
    Conversation,
    conversation_parts,
    plain_text,
)
from llterm.core.distribution import Distribution, Logprobs, Mask
from llterm.core.query import Capabilities, Cost, Fact, Failed, LogitRows, Query, TokenScore
from llterm.core.tokens import Anchor, EncodesHere, Path, Tail, Token

TEXT = """\
Once upon a time a lamp maker lived by the river with a cat who could count. Every evening the cat
counted the lamps, and every evening there was one lamp more than the maker had made. "Where does
it come from?" asked the maker. "From the river," said the cat. "The river makes them out of
stars." So the maker went down to the river and waited. The night was long and the water was
black. At last a small light came down the stream, and then another, and then the whole river was
full of lamps. "Who sends them?" asked the maker. "The people who live by the sea," said the
river. "They are afraid of the dark." The maker thought about this for a long time. Then the maker
went home and lit every lamp in the house, and put every lamp on the water, and the lamps went
down to the sea. In the morning the cat counted the lamps again. "There is only one," said the
cat. "One is enough," said the maker, and the cat went to sleep by the lamp. But the next evening
the river was full of lamps again, and every lamp had a name. The cat read the names one by one.
"They are the names of the children," said the cat, "and the last name is the name of the sea."
The maker laughed and lit the last lamp.
"""

_PIECE = re.compile(r" ?[A-Za-z]+| ?[^\sA-Za-z]+|\s")
_WEIGHTS = (0.62, 0.27, 0.08, 0.03)
"""Shares of trigrams, bigrams, words, and the whole vocabulary."""


class ScriptedVocabulary(EncodesHere):
    """An end token, the 256 bytes, and the words of the story."""

    prefix: Tail = (0,)

    def __init__(self) -> None:
        words = sorted({piece.encode() for piece in _PIECE.findall(TEXT) if len(piece) > 1})
        data = [b"<|end|>", *(bytes([byte]) for byte in range(256)), *words]
        self._tokens = [Token(id, text, special=not id, end=not id) for id, text in enumerate(data)]
        self._ids = {token.data: token.id for token in self._tokens if not token.special}
        self._longest = max(len(text) for text in self._ids)

    @cached_property
    def fingerprint(self) -> str:
        joined = b"\0".join(token.data for token in self._tokens)
        return "scripted-" + hashlib.sha256(joined).hexdigest()[:16]

    @property
    def size(self) -> int:
        return len(self._tokens)

    def token(self, id: int) -> Token:
        return self._tokens[id]

    def encode(self, data: bytes) -> Tail:
        ids: list[int] = []
        start = 0
        while start < len(data):
            sizes = range(min(self._longest, len(data) - start), 0, -1)
            size = next(size for size in sizes if data[start : start + size] in self._ids)
            ids.append(self._ids[data[start : start + size]])
            start += size
        return tuple(ids)


class ScriptedBackend:
    """Answers from the trigrams, in the order asked."""

    name = "scripted"

    def __init__(self, pace: Callable[[], Awaitable[None]] | None = None) -> None:
        """`pace` is awaited before each round of answers: tests and demos hold the model there."""
        self.vocabulary = ScriptedVocabulary()
        self.capabilities = Capabilities(full_vocabulary=True, batch=64, context=2048)
        self.spent = Cost()
        self._pace = pace
        self._seen: set[int] = set()
        self._counts: dict[Tail, Counter[int]] = defaultdict(Counter)
        ids = (0, *self.vocabulary.encode(TEXT.replace("\n", " ").strip().encode()), 0)
        for order in range(3):
            for start in range(len(ids) - order):
                self._counts[ids[start : start + order]][ids[start + order]] += 1

    chat_format = "plain"

    def open_chat(self, chat: Chat) -> ChatParts:
        return conversation_parts(Conversation(tuple(chat.messages())), plain_text)

    async def opened_chat(self, chat: Chat) -> ChatParts:
        return self.open_chat(chat)

    @property
    def chat_traits(self) -> ChatTraits:
        return ChatTraits(self.chat_format, stops=PLAIN_STOPS)

    async def written_chat(self, conversation: Conversation) -> ChatParts:
        return conversation_parts(conversation, plain_text)

    async def ask(self, queries: Sequence[Query]) -> AsyncGenerator[Fact | Failed]:
        if self._pace is not None:
            await self._pace()
        for index, query in enumerate(queries):
            cost = self._cost(query.path, first=not index)
            self.spent += cost
            yield Fact(query.path, self._distribution(query), cost)

    async def score(
        self, tokens: Tail, start: int = 1, keep: int = 64
    ) -> AsyncGenerator[TokenScore]:
        if self._pace is not None:
            await self._pace()
        for index in range(max(start, 1), len(tokens)):
            before = Path(Anchor(tokens[:index]))
            cost = self._cost(before, first=True)
            self.spent += cost
            logprobs, id = self._logprobs(before.tokens), tokens[index]
            rank = 1 + int((logprobs > logprobs[id]).sum())
            rank += int((logprobs[:id] == logprobs[id]).sum())
            yield TokenScore(index, id, float(logprobs[id]), rank, listed(logprobs, keep), cost)

    async def rows(
        self, tokens: Tail, start: int = 1, *, aside: bool = True
    ) -> AsyncGenerator[LogitRows]:
        for index in range(max(start, 1), len(tokens)):
            before = Path(Anchor(tokens[:index]))
            cost = self._cost(before, first=True)
            self.spent += cost
            yield LogitRows(index, self._logprobs(before.tokens)[None, :], cost)

    async def close(self) -> None:
        """Nothing to free."""

    def _cost(self, path: Path, *, first: bool) -> Cost:
        """Each prefix is paid for once, as with a cache that never forgets."""
        new = {hash(path.tokens[:size]) for size in range(1, len(path.tokens) + 1)} - self._seen
        self._seen |= new
        return Cost(len(new), max(len(new) - len(path.tail), 0), int(first), 0)

    def _logprobs(self, tokens: Tail) -> Logprobs:
        size = self.vocabulary.size
        # A slope of a millionth keeps equal counts apart, so that no order rests on ties.
        mass = np.full(size, _WEIGHTS[3] / size) * (1 + 1e-6 * np.arange(size, 0, -1))
        for order, weight in ((2, _WEIGHTS[0]), (1, _WEIGHTS[1]), (0, _WEIGHTS[2])):
            counts = self._counts.get(tokens[len(tokens) - order :], None)
            if counts:
                total = counts.total()
                for id, count in counts.items():
                    mass[id] += weight * count / total
        logprobs: Logprobs = np.log(mass / mass.sum()).astype(np.float32)
        return logprobs

    def _distribution(self, query: Query) -> Distribution:
        return listed(self._logprobs(query.path.tokens), query.keep, query.mask, full=query.full)


def listed(
    logprobs: Logprobs, keep: int, mask: Mask | None = None, *, full: bool = False
) -> Distribution:
    """A distribution from every id's logprob, shape (vocabulary size,)."""
    order = np.lexsort((np.arange(len(logprobs)), -logprobs))
    chosen = order[:keep]
    permitted = 1.0
    if mask is not None:
        allowed = order[mask.allowed[order]][:keep]
        chosen = order[np.isin(order, np.union1d(chosen, allowed))]
        permitted = float(np.exp(logprobs[mask.allowed].astype(np.float64)).sum())
    p = np.exp(logprobs.astype(np.float64))
    surprisals = -np.log2(np.maximum(p, 1e-300))
    entropy = float((p * surprisals).sum())
    return Distribution(
        ids=chosen.astype(np.int32),
        logprobs=logprobs[chosen],
        rest=max(1.0 - float(p[chosen].sum()), 0.0) if len(chosen) < len(p) else 0.0,
        permitted=permitted,
        entropy=(entropy, entropy),
        exact=True,
        full=logprobs if full else None,
        log_z=0.0,
        varentropy=float((p * (surprisals - entropy) ** 2).sum()),
    )
