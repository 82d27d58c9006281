"""A text as a model reads it: how expected each token was, and what was expected instead."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from llterm.core.beams import Step
from llterm.core.distribution import Distribution
from llterm.core.query import TokenScore
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
    def p(self) -> float:
        return math.exp(self.logprob)

    def mass(self, count: int) -> float:
        """Probability of the `count` first choices together."""
        return min(math.fsum(math.exp(one.logprob) for one in self.top[:count]), 1.0)

    @property
    def surprisal(self) -> float:
        """−log2 p, in bits."""
        return max(-self.logprob / math.log(2), 0.0)


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


def summarise(readings: Sequence[TokenReading]) -> Summary:
    """Perplexity and the like; where there is nothing to tell them by, NaN."""
    count = len(readings)
    size = sum(len(reading.token.data) for reading in readings if not reading.token.special)
    nats = -math.fsum(reading.logprob for reading in readings)
    return Summary(
        tokens=count,
        bytes=size,
        perplexity=_exp(nats / count) if count else math.nan,
        bits_per_byte=nats / math.log(2) / size if size else math.nan,
        entropy=_mean(reading.entropy for reading in readings),
        at_least=any("entropy" in reading.at_least for reading in readings),
        first=_mean(float(reading.rank == 1) for reading in readings),
    )


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else 0.0


def _exp(x: float) -> float:
    return math.exp(x) if x < 700 else math.inf
