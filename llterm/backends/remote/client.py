"""One conversation with a server: requests in its dialect, answers as steps whose ids are known."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import pairwise

import numpy as np

from llterm.backends.remote.dialect import Dialect, Tokenizes
from llterm.backends.remote.server_faults import is_unwritten
from llterm.backends.remote.server_vocabulary import RemoteVocabulary, is_end
from llterm.backends.remote.steps import (
    CompletionRequest,
    CompletionStep,
    Prompt,
    TokenCandidate,
    Turn,
)
from llterm.backends.remote.transport import BadAnswer, RequestRefused, Transport
from llterm.core.distribution import Distribution
from llterm.core.tokens import Path, Tail, Token
from llterm.errors import LltermError

SLOW = 0.15
"""Seconds: an answer that takes longer, and longer than a new connection, is streamed, so that its
beginning is here at once. llama.cpp's server hangs up after each streamed answer."""
GUESS = 0.02
"""Seconds for a position, before one was measured."""
LEAST = 1e-4
"""Seconds for a position: no server is quicker."""
ROUNDING = 0.02
"""What a sum of probabilities may be above 1: servers round."""

Pair = tuple[float, int]
"""A logprob, negated for sorting, and an id."""


class Client:
    """Asks by ids where the server takes and gives them, else by text."""

    def __init__(
        self, name: str, transport: Transport, dialect: Dialect, vocabulary: RemoteVocabulary, *,
        streams: bool = True,
    ) -> None:  # fmt: skip
        """`name` is the model's, for people."""
        self.name = name
        self.transport = transport
        self.dialect = dialect
        self.vocabulary = vocabulary
        traits = dialect.traits
        self.by_ids = traits.ids_in and traits.ids_out
        self.pace = GUESS
        """Seconds that the server takes for a position, lately; not counting the way there."""
        self._quickest = math.inf
        self._streams = streams and traits.streams

    @property
    def waits(self) -> float:
        """Seconds to the beginning of the quickest answer so far; 0 before the first."""
        return self._quickest if math.isfinite(self._quickest) else 0.0

    async def steps(self, request: CompletionRequest) -> AsyncGenerator[Sequence[CompletionStep]]:
        """The answer to one request, in as many parts as it comes in. Raises LltermError.

        Steps may be missing: a server leaves out those that end inside a character, or loses its
        whole answer with one of them.
        """
        try:
            async with aclosing(self._parts(request)) as parts:
                async for part in parts:
                    yield part
        except RequestRefused as error:
            if not is_unwritten(error):
                raise

    async def _parts(self, request: CompletionRequest) -> AsyncGenerator[Sequence[CompletionStep]]:
        """As `steps`; raises also where the answer was lost."""
        traits = self.dialect.traits
        rounds = len(request.prompts) * request.tokens / min(traits.slots, len(request.prompts))
        stream = self._streams and request.tokens > 1 and rounds * self.pace > SLOW + self.waits
        call = self.dialect.call(replace(request, stream=stream))
        start = time.monotonic()
        if stream:
            async with aclosing(self.transport.stream(call.path, call.body)) as parts:
                async for part in parts:
                    self._quickest = min(self._quickest, time.monotonic() - start)
                    yield await self._read(part)
        else:
            reply = await self.transport.post(call.path, call.body)
            self._quickest = min(self._quickest, time.monotonic() - start)
            yield await self._read(reply.data)
        took = max(time.monotonic() - start - self.waits, 0.0) / rounds
        # What waits its turn, or for a connection, takes longer than the server does.
        self.pace = max(min(took, 0.9 * self.pace + 0.1 * took), LEAST)

    def prompt(self, path: Path) -> Prompt:
        """A path as the server takes it: `given`, behind the messages of a chat."""
        if self.by_ids:
            return self.given(path.tokens)
        return self.text(path.tokens[self._begins(path.tokens) :])

    def given(self, tokens: Tail) -> Prompt:
        """Tokens as the server takes them: the one way by which they get into a request.

        Raises LltermError where one of them was not told by the server, or text cannot say them.
        """
        if not self.by_ids:
            return self.text(tokens)
        if (strange := self.vocabulary.untold(tokens)) is not None:
            raise LltermError(
                f"The text holds token {strange:,}, which {self.name} has not told",
                "It may be from another vocabulary, or from before the server changed its model.",
                "Weave again. Where that does not help, write the last words anew.",
            )
        return tokens

    def said(self, path: Path) -> Sequence[Turn]:
        """The messages before the story, where the path begins with a chat that goes as such."""
        roles = self.vocabulary.roles
        ids = path.tokens[: self._begins(path.tokens)]
        starts = [at for at, id in enumerate(ids) if id in roles]
        return [(roles[ids[at]], self.text(ids[at:end])) for at, end in pairwise(starts)]

    def _begins(self, ids: Tail) -> int:
        """Where the story begins: behind the last token that begins a message."""
        roles = self.vocabulary.roles
        return max((at + 1 for at, id in enumerate(ids) if id in roles), default=0) if roles else 0

    def text(self, ids: Iterable[int]) -> str:
        token = self.vocabulary.token
        data = b"".join(one.data for one in map(token, ids) if not one.special)
        try:
            return data.decode()
        except UnicodeDecodeError:
            raise LltermError(
                "This branch ends inside a character",
                "Its server takes text, and half a character is none.",
                "A server that takes token ids could go on: llama.cpp's, vLLM or SGLang.",
            ) from None

    def pairs(self, listed: Iterable[TokenCandidate]) -> Iterable[tuple[int, float]]:
        """Candidates by id; those that cannot be told apart are left out."""
        for candidate in listed:
            if (id := self.id_of(candidate)) is not None:
                yield id, candidate.logprob

    def id_of(self, candidate: TokenCandidate) -> int | None:
        if self.by_ids:
            # An id without bytes could be gone on from, but its text would be lost.
            return (
                candidate.id
                if candidate.id is not None and self.vocabulary.knows(candidate.id)
                else None
            )
        return self.vocabulary.id_of(candidate.data) if candidate.data else None

    def untold(self, listed: Sequence[TokenCandidate]) -> float:
        """The probability of those whose text the server does not tell."""
        if not self.by_ids:
            return 0.0
        return math.fsum(
            math.exp(min(candidate.logprob, 0.0))
            for candidate in listed
            if self.id_of(candidate) is None
        )

    def distribution(self, listed: Sequence[TokenCandidate]) -> Distribution | None:
        """From a server's candidates, or None where none can be told. Raises BadAnswer."""
        traits, size = self.dialect.traits, self.vocabulary.size
        known = [*self.pairs(listed)]
        pairs = checked(known, size, self.name)
        if not pairs:
            return None
        # What the server left out, or what was left out here, may be the most probable.
        whole = traits.bytes_out and len(known) == len(listed)
        return distribution_of(pairs, size, exact=traits.top is None and self.by_ids, whole=whole)

    async def _read(self, data: object) -> Sequence[CompletionStep]:
        steps = list(self.dialect.read(data))
        await self.learn(one for step in steps for one in (step.chosen, *step.listed))
        return steps

    async def learn(self, seen: Iterable[TokenCandidate]) -> None:
        """See to it that these tokens' bytes are known."""
        vocabulary = self.vocabulary
        if not self.by_ids:
            names = {
                candidate.data
                for candidate in seen
                if candidate.data is not None and is_end(candidate.data)
            }
            for name in names:
                vocabulary.end(name)
            return
        new = {candidate.id: candidate.data for candidate in seen
               if candidate.id is not None and not vocabulary.knows(candidate.id)}  # fmt: skip
        if not new:
            return
        vocabulary.learn(Token(id, data) for id, data in new.items() if data)
        unknown: Tail = tuple(id for id, data in new.items() if not data)
        if unknown and isinstance(self.dialect, Tokenizes):
            found = await self.dialect.tokens(self.transport, unknown)
            vocabulary.learn(_with_end(token) for token in found.values())


def _with_end(token: Token) -> Token:
    return replace(token, special=True, end=True) if is_end(token.data) else token


def distribution_of(
    pairs: Iterable[Pair], size: int, *, exact: bool, whole: bool, permitted: float = 1.0
) -> Distribution:
    """From candidates that `checked` gave; `exact` as in `Distribution`.

    `whole`: none that is more probable than a listed one is missing.
    """
    ordered = sorted(pairs)
    logprobs = np.array([-one for one, _ in ordered], dtype=np.float32)
    ids = np.array([id for _, id in ordered], dtype=np.int32)
    listed = float(np.exp(logprobs.astype(np.float64)).sum())
    rest = max(1.0 - listed, 0.0) if len(ids) < size else 0.0
    return Distribution(
        ids=ids,
        logprobs=logprobs,
        rest=rest,
        permitted=permitted,
        entropy=entropy_bounds(logprobs.astype(np.float64).tolist(), rest, size, whole=whole),
        exact=exact,
        certain=whole or math.exp(logprobs[0]) > rest,
    )


def checked(listed: Iterable[tuple[int, float]], size: int, model: str) -> list[Pair]:
    """Ids with their logprobs, each id once. Impossible ones (−∞) are left out.

    Raises BadAnswer for logprobs that are no such thing, and ids that the vocabulary has not.
    """
    logprobs: dict[int, float] = {}
    total = 0.0
    for id, logprob in listed:
        if not logprob <= ROUNDING:
            raise _wrong(f"it gave a logprob of {logprob:g}, which is no probability", model)
        if not 0 <= id < size:
            raise _wrong(f"it gave token {id:,}; the model's vocabulary has {size:,}", model)
        if logprob > -math.inf and id not in logprobs:
            logprobs[id] = -min(logprob, 0.0)
            total += math.exp(logprob)
    if total > 1.0 + ROUNDING:
        raise _wrong(f"its probabilities add up to {total:.3f}", model)
    return [(logprob, id) for id, logprob in logprobs.items()]


def entropy_bounds(
    logprobs: Sequence[float], rest: float, size: int, *, whole: bool
) -> tuple[float, float]:
    """Bounds of −Σ p·log2 p, in bits, where some candidates are listed and `rest` is not.

    The unlisted ones hold rest·−log2 m bits at least, where m is the most that one of them can
    have: the last listed one's p where none before it is missing, else all of `rest`. At most they
    hold as many as when all of them are equally probable.
    """
    known = -math.fsum(math.exp(one) * one for one in logprobs) / math.log(2)
    others = size - len(logprobs)
    if rest <= 0.0 or others <= 0:
        return known, known
    most = min(math.exp(logprobs[-1]), rest) if whole and logprobs else rest
    least = -rest * math.log2(most)
    return known + least, known + max(least, rest * math.log2(others / rest))


def _wrong(why: str, model: str) -> BadAnswer:
    return BadAnswer(
        f"{model} gives wrong probabilities", f"{why[0].upper()}{why[1:]}.",
        "Its server may be broken, or of another kind than it seems.",
    )  # fmt: skip
