"""A sampling made ready for one vocabulary: the ladder of any place, bans and biases included."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from llterm.core.ban_table import BannedTokens, BanTable, ListedBans
from llterm.core.bans import Bans
from llterm.core.distribution import Bits, Constrained, Distribution, Ids, Reals
from llterm.core.sampling.dry import breaker_ends, breaker_tokens
from llterm.core.sampling.ladder import Ladder, Mirostat, apply, choose, generator
from llterm.core.sampling.sampler_settings import SamplerSettings, Sampling
from llterm.core.sampling.stage_plan import StagePlan
from llterm.core.sampling.stage_types import Breakers, Position, Stage, StageResult
from llterm.core.sampling.stages import active_stages
from llterm.core.tokens import Tail, Vocabulary, grows

PULL = 20.0
"""Nats by which an ideal length holds back the end of a text at first, and urges it at twice the
length. The source system (seeds.md 5.2) holds back five times as hard, and never urges."""
KEPT = 16
"""Bans, and sets of breakers, whose tokens are kept: chains of one vocabulary differ in these."""
UNKNOWN_LOGITS = (
    "This source tells probabilities, not logits: the repeat penalty is applied to logprobs, "
    "which weighs more than in llama.cpp."
)


@dataclass(slots=True)
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
        self,
        sampling: Sampling,
        whose: ChainVocabulary,
        tokens: TokensOf,
        spoken: frozenset[int] = frozenset(),
    ) -> None:
        """`tokens`: those of every text in `texts_of(sampling)`; `spoken`: special tokens that may
        be drawn."""
        self.sampling = sampling
        self.spoken = spoken
        self.settings = replace(
            sampling.settings, logit_bias=_biases(sampling, whose.vocabulary, tokens)
        )
        self._whose = whose
        self._tokens = tokens
        self.plan = StagePlan.of(self.settings, whose.vocabulary.size)
        """How it is run over a few candidates of a row."""
        self.biases = _finite_biases(self.settings)
        """Ids, ascending, and what is added to their logits."""
        self.signature = (bool(sampling.ideal_length), *self.plan.signature)
        """Rows whose chains have the same one go through the same stages together."""
        self._never = _never(self.settings, whose.vocabulary.size)
        self.plain = (
            self.plan.plain
            and not sampling.bans
            and not sampling.ideal_length
            and not len(self._never)
            and not spoken
        )
        """Whether at every place it bars special tokens alone, and leaves all others or the best
        of them."""

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

        Raises NoCandidateLeft.
        """
        rng = generator(self.settings, len(at.context), line)
        ladder = self.ladder(distribution, at, mask=mask, rng=rng, first=first)
        id = choose(ladder, rng)
        (place,) = np.flatnonzero(ladder.ids == id)
        p = float(ladder.p_final[place])
        logprobs = distribution.logprobs if distribution.full is None else distribution.full
        return Choice(id, float(logprobs[place]), p, ladder, self.mirostat_after(at, p))

    @property
    def penalises(self) -> bool:
        """Whether tokens that stand before a place are penalised there, whichever they are."""
        return "penalties" in dict(active_stages(self.settings))

    def mirostat_after(self, at: Situation, p: float) -> Mirostat | None:
        """What mirostat remembers once a token is drawn with `p` there; None without mirostat."""
        if not self.settings.mirostat:
            return None
        return (at.mirostat or Mirostat.start(self.settings)).after(self.settings, p)

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
        but those that end the text. Raises NoCandidateLeft.
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
            breakers=self.breakers(at),
            first=[*first, *self._stages(at, distribution.ids)],
        )

    def forced(
        self, at: Situation, constraint: Constrained, written: Tail
    ) -> list[tuple[str, Stage]]:
        """Stages that drop the tokens after which a constraint leaves only banned phrases."""
        table = self._whose.table(self.sampling.bans)
        doomed = table.doomed(at.story, at.drawn, constraint, written)
        return [(one.said, barring(one.ids)) for one in doomed]

    def breakers(self, at: Situation) -> Breakers:
        """DRY's, in the text of a place."""
        return self._whose.breakers(self.sampling.settings, self._tokens, at.context)

    def pull(self, at: Situation) -> tuple[NDArray[np.int64], Reals]:
        """The ids that end a text, and what an ideal length adds to their logits."""
        ends = self._whose.ends(_NONE)
        return ends, np.full(len(ends), self._pull_at(at))

    def position(self, at: Situation, chance: Callable[[], float]) -> Position:
        """What its stages know of a place; of a vocabulary that is whole."""
        return Position(
            context=at.context,
            breakers=self.breakers(at),
            chance=chance,
            mu=(at.mirostat or Mirostat.start(self.settings)).mu,
            listed=self._whose.vocabulary.size,
        )

    def dropped(self, at: Situation) -> NDArray[np.int64]:
        """The ids, ascending, that special tokens, bans and biases of −∞ take; of a vocabulary that
        is whole."""
        bans = self.sampling.bans
        barred = self._whose.barred(bans, at, _NONE) if bans else ()
        if not barred:
            return self._always_dropped
        bits = self._mute(_NONE).copy()
        for bar in barred:
            bits |= bar.ids
        bits[self._never] = True
        return np.flatnonzero(bits)

    @cached_property
    def _always_dropped(self) -> NDArray[np.int64]:
        """Those that no place lets be drawn; one array for all chains that have no others."""
        if not len(self._never) and not self.spoken:
            return self._whose.mute_ids
        bits = self._mute(_NONE).copy()
        bits[self._never] = True
        return np.flatnonzero(bits)

    def changing(self, at: Situation) -> Sequence[tuple[str, Stage]]:
        """The stages of this place that look at each candidate for itself, less those that only
        bar some."""
        pull = self._pull(at, _NONE)
        return (*pull, *self.plan.single) if pull else self.plan.single

    def changed(self, position: Position) -> NDArray[np.int64]:
        """The ids, ascending, whose logits `changing` does more to than divide them."""
        s, names = self.settings, [name for name, _ in self.plan.single]
        ids = [self._whose.ends(_NONE)] if self.sampling.ideal_length else []
        if "logit_bias" in names:
            ids.append(self.biases[0])
        if "penalties" in names:
            ids.append(position.counts(s.penalty_last_n)[0])
        if "dry" in names:
            ids.append(position.counts(s.dry_penalty_last_n)[0])
        if len(ids) < 2:
            return ids[0] if ids else _NO_IDS
        return np.unique(np.concatenate(ids))

    def caveat(self, distribution: Distribution) -> str:
        """What is not exact about ladders of such a distribution; empty when all is."""
        guessed = (
            self.penalises and self.settings.repeat_penalty != 1 and distribution.log_z is None
        )
        return UNKNOWN_LOGITS if guessed else ""

    def _stages(self, at: Situation, listed: Ids) -> list[tuple[str, Stage]]:
        whose = self._whose
        mute = self._mute(listed)
        stages = [("special", barring(mute))] if mute.any() else []
        barred = whose.barred(self.sampling.bans, at, listed)
        stages += [(one.said, barring(one.ids)) for one in barred]
        return stages + self._pull(at, listed)

    def _mute(self, listed: Ids) -> Bits:
        """Which ids are special, and neither ends nor spoken."""
        bits = self._whose.mute(listed)
        if self.spoken:
            bits = bits.copy()
            bits[[id for id in self.spoken if id < len(bits)]] = False
        return bits

    def _pull(self, at: Situation, listed: Ids) -> list[tuple[str, Stage]]:
        if not self.sampling.ideal_length:
            return []
        return [("ideal length", _adding(self._whose.ends(listed), self._pull_at(at)))]

    def _pull_at(self, at: Situation) -> float:
        return PULL * (at.count / self.sampling.ideal_length - 1)


_NONE: Ids = np.empty(0, np.int32)
"""No candidates are listed: where all of a vocabulary is known, it is not asked for them."""
_NO_IDS = np.empty(0, np.int64)


TokensOf = Mapping[bytes, Tail]
"""The tokens of texts."""


def texts_of(sampling: Sampling) -> set[bytes]:
    """The texts of a sampling that count by their tokens: biased ones, and DRY's breakers."""
    biased = {text.encode() for text, _ in sampling.bias if digits_of_id(text) is None}
    return biased | breaker_ends(_breakers_of(sampling.settings))


class ChainVocabulary:
    """What chains have to know of a vocabulary. One that is whole is read once, and kept; of one
    that is told token by token the candidates of each place are looked at."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._grows = grows(vocabulary)
        self._tables: dict[Bans, BanTable] = {}
        self._breakers: dict[tuple[str, ...], Breakers] = {}
        known = () if self._grows else range(vocabulary.size)
        tokens = [vocabulary.token(id) for id in known]
        self._ends = np.array([token.id for token in tokens if token.end], np.int64)
        self._mute = np.array([token.special and not token.end for token in tokens], np.bool_)
        self.mute_ids = np.flatnonzero(self._mute)
        """Those that are special, and no ends, ascending; of those known from the start."""

    def prepare(self, sampling: Sampling, tokens: TokensOf) -> None:
        """Make at once what takes a while."""
        if not self._grows:
            self.table(sampling.bans)
            self.breakers(sampling.settings, tokens, ())

    def mute(self, listed: Ids) -> Bits:
        """Which ids are special, and no ends; the bits reach as far as these candidates."""
        if not self._grows:
            return self._mute
        bits = np.zeros(int(listed.max(initial=-1)) + 1, np.bool_)
        for token in map(self.vocabulary.token, listed.tolist()):
            bits[token.id] = token.special and not token.end
        return bits

    def ends(self, listed: Ids) -> NDArray[np.int64]:
        """Those that end a text; of these candidates, where not all tokens are known."""
        if not self._grows:
            return self._ends
        tokens = map(self.vocabulary.token, listed.tolist())
        return np.array([token.id for token in tokens if token.end], np.int64)

    def table(self, bans: Bans) -> BanTable:
        """What bans bar; of a vocabulary that is whole."""
        table = self._tables.get(bans)
        if table is None:
            table = _kept(self._tables, bans, BanTable(bans, self.vocabulary))
        return table

    def barred(self, bans: Bans, at: Situation, listed: Ids) -> Sequence[BannedTokens]:
        """What bans bar at a place with these candidates."""
        if self._grows:
            return ListedBans(bans, self.vocabulary).barred(at.story, at.drawn, listed.tolist())
        if at.residue:
            return self.table(bans).barred_beyond(at.story, at.residue)
        return self.table(bans).barred(at.story, at.drawn)

    def breakers(self, settings: SamplerSettings, tokens: TokensOf, context: Tail) -> Breakers:
        """DRY's breakers in a text of these tokens."""
        texts = _breakers_of(settings)
        if self._grows:
            return breaker_tokens(self.vocabulary, texts, tokens, set(context))
        breakers = self._breakers.get(texts)
        if breakers is None:
            made = breaker_tokens(self.vocabulary, texts, tokens)
            breakers = _kept(self._breakers, texts, made)
        return breakers


K = TypeVar("K")
V = TypeVar("V")


def _kept(made: dict[K, V], key: K, value: V) -> V:
    if len(made) >= KEPT:
        made.clear()
    made[key] = value
    return value


class Chains:
    """Makes the chains of one vocabulary; what takes a while to make is kept for the next one."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._whose: ChainVocabulary | None = None
        self._chain: Chain | None = None

    def known(self, sampling: Sampling, spoken: frozenset[int] = frozenset()) -> Chain | None:
        """The chain of this sampling, the same object when it is asked for again; None where its
        words' tokens have to be asked for (`told`). `spoken`: special tokens that may be drawn."""
        if not self._is_of(sampling, spoken):
            tokens: dict[bytes, Tail] = {}
            for text in texts_of(sampling):
                known = self.vocabulary.known_tokens(text)
                if known is None:
                    return None
                tokens[text] = known
            self._chain = self._made(sampling, tokens, spoken)
        return self._chain

    async def told(self, sampling: Sampling, spoken: frozenset[int] = frozenset()) -> Chain:
        """The same; asks for the tokens. Raises LltermError where they cannot be told."""
        if self._chain is None or not self._is_of(sampling, spoken):
            texts = texts_of(sampling)
            tokens = {text: await self.vocabulary.tokenize(text) for text in texts}
            self._chain = await asyncio.to_thread(self._made, sampling, tokens, spoken)
        return self._chain

    def _is_of(self, sampling: Sampling, spoken: frozenset[int]) -> bool:
        chain = self._chain
        return chain is not None and (chain.sampling, chain.spoken) == (sampling, spoken)

    def _made(self, sampling: Sampling, tokens: TokensOf, spoken: frozenset[int]) -> Chain:
        if self._whose is None:
            self._whose = ChainVocabulary(self.vocabulary)
        self._whose.prepare(sampling, tokens)
        return Chain(sampling, self._whose, tokens, spoken)


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


def digits_of_id(text: str) -> str | None:
    """The digits of a biased token that is named by its id; None where it is a text."""
    return text[1:] if text[:1] == "#" and text[1:].isdecimal() else None


def _breakers_of(settings: SamplerSettings) -> tuple[str, ...]:
    return settings.dry_sequence_breakers if settings.dry_multiplier else ()


def _biases(
    sampling: Sampling, vocabulary: Vocabulary, tokens: TokensOf
) -> tuple[tuple[int, float], ...]:
    """By token: a text's is the one that it is, or the first of those that it is made of. An id
    that this model has not is none of its tokens'."""
    by_id: dict[int, float] = {}
    for text, bias in sampling.bias:
        number = digits_of_id(text)
        if number is not None:
            if len(number) > _DIGITS or int(number) >= vocabulary.size:
                continue
            id = int(number)
        else:
            id = tokens[text.encode()][0]
        by_id[id] = min(by_id.get(id, 0.0) + bias, sys.float_info.max)
    return tuple((id, bias) for id, bias in by_id.items() if not math.isnan(bias))


def _finite_biases(settings: SamplerSettings) -> tuple[NDArray[np.int64], Reals]:
    finite = sorted((id, bias) for id, bias in settings.logit_bias if bias != -math.inf)
    ids = np.array([id for id, _ in finite], np.int64)
    return ids, np.array([bias for _, bias in finite], np.float64)


def _never(settings: SamplerSettings, size: int) -> NDArray[np.int64]:
    """The ids of a vocabulary of this size that are never drawn, ascending."""
    ids = {*settings.banned, *(id for id, bias in settings.logit_bias if bias == -math.inf)}
    return np.array(sorted(id for id in ids if id < size), np.int64)
