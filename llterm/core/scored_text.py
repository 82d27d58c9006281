"""A text as a model reads it: how expected each token was, and what was expected instead."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count

from llterm.core.beams import Step
from llterm.core.distribution import Distribution
from llterm.core.query import ScoreColumns, TokenScore
from llterm.core.tokens import Token, Vocabulary

MOST = 1000
"""Candidates kept with a reading."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What might have stood there."""

    token: Token
    logprob: float


@dataclass(frozen=True, slots=True)
class TokenReading:
    """A token that stands in a text, and the distribution it stood in."""

    index: int
    """Its place among the text's tokens; a prefix of the model's own does not count."""
    token: Token
    logprob: float
    rank: int
    """1 = the model's first choice."""
    entropy: float
    """Bits; of a source's top candidates alone: a lower bound."""
    top: tuple[Candidate, ...]
    """Most probable first."""
    varentropy: float | None = None
    """Variance of the surprisal, bits²; None where it is not known."""
    at_least: frozenset[str] = frozenset()
    """Which of `rank` and `entropy` may be higher: the source told its first candidates alone."""

    @property
    def end(self) -> int:
        """Its place and one."""
        return self.index + 1

    @property
    def p(self) -> float:
        return math.exp(self.logprob)

    def mass(self, count: int) -> float:
        """Probability of the `count` first choices together."""
        return min(math.fsum(math.exp(one.logprob) for one in self.top[:count]), 1.0)

    @property
    def surprisal(self) -> float:
        """−log2 p, in bits."""
        return max(-self.logprob / math.log(2), 0.0)


class TextReadings:
    """The readings of a text's tokens, in order.

    Those of a model in process stay in arrays: each is made when it is looked at, and not kept. A
    long text's would fill memory, and Python's collector would walk through all of them.
    """

    def __init__(self) -> None:
        self._parts: list[TokenReading | ReadingColumns] = []
        self._count = 0

    def add(self, part: TokenReading | ReadingColumns) -> None:
        """What was read next."""
        self._parts.append(part)
        self._count += len(part) if isinstance(part, ReadingColumns) else 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[TokenReading]:
        return self._each(MOST)

    def bare(self) -> Iterator[TokenReading]:
        """The same where nobody looks at the candidates: there may be none."""
        return self._each(0)

    def _each(self, most: int) -> Iterator[TokenReading]:
        for part in self._parts:
            if isinstance(part, ReadingColumns):
                yield from part.readings(most)
            else:
                yield part


@dataclass(frozen=True, slots=True, eq=False)
class ReadingColumns:
    """Readings of successive tokens, in arrays."""

    columns: ScoreColumns
    vocabulary: Vocabulary
    index: int
    """The place of the first among the text's tokens."""

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def end(self) -> int:
        """The place after the last."""
        return self.index + len(self)

    def readings(self, most: int = MOST) -> Iterator[TokenReading]:
        """One by one, each with so many candidates at the most."""
        columns, named = self.columns, self.vocabulary.token
        figures = zip(
            count(self.index), columns.ids.tolist(), columns.logprobs.tolist(),
            columns.ranks.tolist(), columns.entropies.tolist(),
            columns.listed[:, :most].tolist(), columns.listed_logprobs[:, :most].tolist(),
            columns.varentropies.tolist(), strict=False,
        )  # fmt: skip
        for index, id, logprob, rank, entropy, listed, below, spread in figures:
            top = tuple(map(Candidate, map(named, listed), below))
            yield TokenReading(index, named(id), logprob, rank, entropy, top, spread)


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures over many tokens."""

    tokens: int
    bytes: int
    perplexity: float
    """exp of the mean −ln p a token; infinite where a token was impossible, NaN of no tokens."""
    bits_per_byte: float
    entropy: float
    """Mean, in bits: how unsure the model was."""
    at_least: bool
    """It may be higher: some of these are bounds."""
    first: float
    """Share of tokens that were the model's first choice."""


def read(scored: TokenScore, vocabulary: Vocabulary, index: int) -> TokenReading:
    """What a score says of the token at `index` of a text."""
    token = vocabulary.token(scored.id)
    return _reading(index, token, scored.logprob, scored.rank, scored.distribution, vocabulary)


def read_step(
    step: Step, distribution: Distribution, vocabulary: Vocabulary, index: int
) -> TokenReading:
    """What a search knows of a suggestion's token; `distribution` is the distribution before it."""
    token = vocabulary.token(step.id)
    return _reading(index, token, step.logprob, step.rank, distribution, vocabulary)


def _reading(
    index: int,
    token: Token,
    logprob: float,
    rank: int,
    distribution: Distribution,
    names: Vocabulary,
) -> TokenReading:
    pairs = zip(
        distribution.ids[:MOST].tolist(), distribution.logprobs[:MOST].tolist(), strict=True
    )
    top = tuple(Candidate(names.token(id), lp) for id, lp in pairs)
    low, high = distribution.entropy
    at_least = {"entropy"} if low < high else set()
    if low < high and token.id not in distribution.ids:
        at_least.add("rank")
    return TokenReading(
        index, token, logprob, rank, low, top, distribution.varentropy, frozenset(at_least)
    )


def summarise(readings: Iterable[TokenReading]) -> Summary:
    """Perplexity and the like; where there is nothing to tell them by, NaN. Candidates are not
    looked at."""
    logprobs: list[float] = []
    entropies: list[float] = []
    size = first = 0
    at_least = False
    for reading in readings:
        logprobs.append(reading.logprob)
        entropies.append(reading.entropy)
        first += reading.rank == 1
        at_least = at_least or "entropy" in reading.at_least
        if not reading.token.special:
            size += len(reading.token.data)
    tokens = len(logprobs)
    nats = -math.fsum(logprobs)
    return Summary(
        tokens=tokens,
        bytes=size,
        perplexity=_exp(nats / tokens) if tokens else math.nan,
        bits_per_byte=nats / math.log(2) / size if size else math.nan,
        entropy=math.fsum(entropies) / max(tokens, 1),
        at_least=at_least,
        first=first / max(tokens, 1),
    )


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf
