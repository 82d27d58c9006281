"""A sampling made ready for one vocabulary: the ladder of any place, bans and biases included."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from llterm.core.ban_table import BanTable
from llterm.core.bans import Bans
from llterm.core.distribution import Bits, Constrained, Distribution, Ids, Reals
from llterm.core.sampling.dry import breaker_tokens
from llterm.core.sampling.ladder import Ladder, Mirostat, apply, choose, generator
from llterm.core.sampling.sampler_settings import SamplerSettings, Sampling
from llterm.core.sampling.stage_types import Breakers, Position, Stage, StageResult
from llterm.core.sampling.stages import active_stages
from llterm.core.tokens import Tail, Vocabulary

PULL = 20.0
"""Nats by which an ideal length holds back the end of a text at first, and urges it at twice the
length. The source system (seeds.md 5.2) holds back five times as hard, and never urges."""
UNKNOWN_LOGITS = (
    "This source tells probabilities, not logits: the repeat penalty is applied to logprobs, "
    "which weighs more than in llama.cpp."
)


@dataclass(frozen=True, slots=True)
class Situation:
    """Where a token is drawn."""

    context: Tail
    """All tokens before it, newest last."""
    story: bytes = b""
    """The text before the first drawn token; only its end counts."""
    drawn: bytes = b""
    """The text drawn since, whole."""
    count: int = 0
    """Tokens drawn since."""
    residue: bytes = b""
    """The end of `story` that the next token must write again (healing); nothing is drawn then."""
    mirostat: Mirostat | None = None
    """What it remembers; None where nothing was drawn."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A token that was drawn."""

    id: int
    logprob: float
    """Natural, of the raw model."""
    p: float
    """What it was drawn with: its `p_final`."""
    ladder: Ladder
    mirostat: Mirostat | None
    """What it remembers for the next one; None without mirostat."""


@dataclass(slots=True)
class DrawnText:
    """A text while it is drawn token by token: what the chain has to remember of it."""

    text: bytes = b""
    count: int = 0
    """Its tokens."""
    mirostat: Mirostat | None = None

    def here(self, context: Tail, story: bytes, residue: bytes = b"") -> Situation:
        """Where the next token is drawn. `story` is the text before the first one."""
        return Situation(context, story, self.text, self.count, residue, self.mirostat)

    def took(self, choice: Choice) -> None:
        """A token was drawn; its text is added by whoever knows how much of it is new."""
        self.count += 1
        self.mirostat = choice.mirostat


class Chain:
    """How the tokens of one vocabulary are drawn. Made by `Chains`."""

    def __init__(
        self, sampling: Sampling, vocabulary: Vocabulary, table: BanTable, breakers: Breakers
    ) -> None:
        self.sampling = sampling
        self.settings = replace(sampling.settings, logit_bias=_biases(sampling, vocabulary))
        self._table = table
        self._breakers = breakers
        tokens = [vocabulary.token(id) for id in range(vocabulary.size)]
        self._ends = np.array([token.id for token in tokens if token.end])
        self._mute = np.array([token.special and not token.end for token in tokens], np.bool_)

    def draw(
        self,
        distribution: Distribution,
        at: Situation,
        *,
        line: int = 0,
        mask: Bits | None = None,
        first: Sequence[tuple[str, Stage]] = (),
    ) -> Choice:
        """Draw a token. With a seed, the place and the line's number decide, nothing else.

        Raises NothingLeft.
        """
        rng = generator(self.settings, len(at.context), line)
        ladder = self.ladder(distribution, at, mask=mask, rng=rng, first=first)
        id = choose(ladder, rng)
        mirostat = None
        if self.settings.mirostat:
            before = at.mirostat or Mirostat.start(self.settings)
            mirostat = before.after(self.settings, ladder, id)
        (place,) = np.flatnonzero(ladder.ids == id)
        with np.errstate(divide="ignore"):
            logprob = float(np.log(ladder.p_base[place]))
        return Choice(id, logprob, float(ladder.p_final[place]), ladder, mirostat)

    def ladder(
        self,
        distribution: Distribution,
        at: Situation,
        *,
        mask: Bits | None = None,
        rng: np.random.Generator | None = None,
        first: Sequence[tuple[str, Stage]] = (),
    ) -> Ladder:
        """What the chain makes of every listed candidate; of all ids where `distribution` is full.

        `mask`, shape (vocabulary size,): what a constraint allows. `first`: stages that run before
        all but the constraint. No kept token completes a banned phrase, and none is a special one
        but those that end the text. Raises NothingLeft.
        """
        ids = distribution.ids if distribution.full is None else None
        logprobs = distribution.logprobs if distribution.full is None else distribution.full
        return apply(
            self.settings,
            logprobs,
            at.context,
            ids=ids,
            mask=mask if mask is None or ids is None else mask[ids],
            rng=rng,
            log_z=distribution.log_z or 0.0,
            mirostat=at.mirostat,
            breakers=self._breakers,
            first=[*first, *self._stages(at)],
        )

    def forced(
        self, at: Situation, constraint: Constrained, written: Tail
    ) -> list[tuple[str, Stage]]:
        """Stages that drop the tokens after which a constraint leaves only banned phrases."""
        doomed = self._table.doomed(at.story, at.drawn, constraint, written)
        return [(one.said, barring(one.ids)) for one in doomed]

    def caveat(self, distribution: Distribution) -> str:
        """What is not exact about ladders of such a distribution; empty when all is."""
        penalised = "penalties" in dict(active_stages(self.settings))
        guessed = penalised and self.settings.repeat_penalty != 1 and distribution.log_z is None
        return UNKNOWN_LOGITS if guessed else ""

    def _stages(self, at: Situation) -> list[tuple[str, Stage]]:
        if at.residue:
            barred = self._table.barred_beyond(at.story, at.residue)
        else:
            barred = self._table.barred(at.story, at.drawn)
        stages = [("special", barring(self._mute))] if self._mute.any() else []
        stages += [(one.said, barring(one.ids)) for one in barred]
        if self.sampling.ideal_length:
            pull = PULL * (at.count / self.sampling.ideal_length - 1)
            stages.append(("ideal length", _adding(self._ends, pull)))
        return stages


class Chains:
    """Makes the chains of one vocabulary; what takes a while to make is kept for the next one."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._table: tuple[Bans, BanTable] | None = None
        self._breakers: tuple[tuple[str, ...], Breakers] = (), {}
        self._chain: Chain | None = None

    def of(self, sampling: Sampling) -> Chain:
        """The chain of this sampling; the same object when it is asked for again."""
        if self._chain is None or self._chain.sampling != sampling:
            table, breakers = self._banned(sampling.bans), self._broken(sampling.settings)
            self._chain = Chain(sampling, self.vocabulary, table, breakers)
        return self._chain

    def _banned(self, bans: Bans) -> BanTable:
        if self._table is None or self._table[0] != bans:
            self._table = bans, BanTable(bans, self.vocabulary)
        return self._table[1]

    def _broken(self, settings: SamplerSettings) -> Breakers:
        texts = settings.dry_sequence_breakers if settings.dry_multiplier else ()
        if texts != self._breakers[0]:
            self._breakers = texts, breaker_tokens(self.vocabulary, texts)
        return self._breakers[1]


def barring(bits: Bits) -> Stage:
    """A stage that drops the ids marked in `bits`, shape (vocabulary size,)."""

    def stage(
        settings: SamplerSettings, ids: Ids, logits: Reals, position: Position
    ) -> StageResult:
        return StageResult(logits, ~bits[ids])

    return stage


def _adding(chosen: np.ndarray[tuple[int], np.dtype[np.int64]], amount: float) -> Stage:
    def stage(
        settings: SamplerSettings, ids: Ids, logits: Reals, position: Position
    ) -> StageResult:
        return StageResult(logits + amount * np.isin(ids, chosen), np.ones(len(ids), bool))

    return stage


_DIGITS = 18
"""Most of a token's id."""


def _biases(sampling: Sampling, vocabulary: Vocabulary) -> tuple[tuple[int, float], ...]:
    """By token: a text's is the one that it is, or the first of those that it is made of. An id
    that this model has not is none of its tokens'."""
    by_id: dict[int, float] = {}
    for text, bias in sampling.bias:
        number = text[1:] if text[:1] == "#" else ""
        if number.isdecimal():
            if len(number) > _DIGITS or int(number) >= vocabulary.size:
                continue
            id = int(number)
        else:
            id = vocabulary.encode(text.encode())[0]
        by_id[id] = min(by_id.get(id, 0.0) + bias, sys.float_info.max)
    return tuple((id, bias) for id, bias in by_id.items() if not math.isnan(bias))
