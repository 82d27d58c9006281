"""What every model of a mix says at each place of a text, beside the mix itself."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from llterm.core.comparison.divergence import (
    ComparedTokens,
    ScoredTokens,
    SeenRows,
    counted_mass,
    divergence,
    see_logprobs,
)
from llterm.core.comparison.quant_statistics import QuantStatistics
from llterm.core.logit_rows import RowScratch
from llterm.core.mixing.blend import Blend, MemberDistribution
from llterm.core.tokens import Token

Caution = Literal["no logprobs", "empty token", "low mass"]
Candidates = tuple[tuple[int, float], ...]
"""Ids and their probabilities, most probable first."""

LISTED = 12
"""Candidates kept of each model at each place."""
TOP = 10
"""How many of them the top mass counts."""
LOW_MASS = 0.5
"""With less of its mass known a model's word counts for little (VisuaLL's limit)."""
NONE = -1
"""The token of a place where nothing stands: the end of the text."""


@dataclass(frozen=True, slots=True)
class ModelAtPlace:
    """One model, or the mix, at a place."""

    top: Candidates
    p: float | None
    """Of the token that stands there; 0 where none does, None where it is not told."""
    rank: int
    """Of that token; 0 where none stands there, or it is not told."""
    kld: float | None
    """KL divergence from the mix in nats: in the reference mode from the reference. None where not
    every token's probability is told by both."""
    known: float
    """Mass of its candidates that is known, 0 to 1."""

    @property
    def choice(self) -> int:
        """Its first choice."""
        return self.top[0][0]

    @property
    def choice_p(self) -> float:
        return self.top[0][1]

    @property
    def mass(self) -> float:
        """Of its ten most probable candidates."""
        return min(sum(p for _, p in self.top[:TOP]), 1.0)


@dataclass(frozen=True, slots=True)
class MixedPlace:
    """A place of the text."""

    token: int
    """That stands there, or `NONE`."""
    mix: ModelAtPlace
    sides: tuple[ModelAtPlace | None, ...]
    """By model; None: it was not asked, or failed."""

    def differs(self, index: int) -> bool:
        """Whether a model's first choice is not the mix's."""
        side = self.sides[index]
        return side is not None and side.choice != self.mix.choice


def place_of(blend: Blend, token: int) -> MixedPlace:
    """All models at one place; `token` stands there, or `NONE`."""
    tokens = np.array([max(token, 0)])
    base = see_logprobs(blend.row[None, :], tokens, RowScratch())
    scratch = RowScratch()
    counted = counted_mass(base, scratch)

    def side(heard: MemberDistribution) -> ModelAtPlace | None:
        if heard.unknown >= 1.0 and not np.isfinite(heard.row).any():
            return None
        seen = see_logprobs(heard.row[None, :], tokens, scratch)
        exact = heard.exact and blend.exact
        kld = float(divergence(base, counted, seen)[0]) if exact else None
        return _model_at_place(
            seen, token, kld, 1.0 - heard.unknown, scratch, exact_p=heard.tells(token)
        )

    known = 1.0 if blend.exact else 1.0 - blend.unknown
    mix = _model_at_place(base, token, 0.0, known, scratch, exact_p=blend.tells(token))
    return MixedPlace(token, mix, tuple(side(one) for one in blend.voices))


def _model_at_place(
    seen: SeenRows,
    token: int,
    kld: float | None,
    known: float,
    scratch: RowScratch,
    *,
    exact_p: bool,
) -> ModelAtPlace:
    """`exact_p`: the token's probability is no estimate. `kld`: None where it would be one."""
    stands = token != NONE
    p = math.exp(seen.tokens.logprob[0]) if stands else 0.0
    return ModelAtPlace(
        top=seen.top(0, LISTED, scratch),
        p=p if exact_p or not stands else None,
        rank=int(seen.tokens.rank[0]) if stands and exact_p else 0,
        kld=None if kld is None else max(kld, 0.0),
        known=known,
    )


def cautions(known: float, choice: Token) -> tuple[Caution, ...]:
    """What makes a model's word at a place doubtful: the mass that is known, its first choice."""
    doubts: list[Caution] = []
    if known <= 0:
        doubts.append("no logprobs")
    elif known < LOW_MASS:
        doubts.append("low mass")
    if not choice.end and (choice.special or not choice.data):
        doubts.append("empty token")
    return tuple(doubts)


def statistics_of(places: Iterable[MixedPlace], index: int) -> QuantStatistics:
    """llama-perplexity's statistics of a model against the mix, over the places where it spoke.

    What any of them does not tell is not known of all."""
    rows = [
        (_log_or_nan(place.mix.p), place.mix.choice, _log_or_nan(side.p), side.choice,
         side.choice_p, math.nan if side.kld is None else side.kld)
        for place in places
        if place.token != NONE and (side := place.sides[index]) is not None
    ]  # fmt: skip
    statistics = QuantStatistics()
    if rows:
        base, choice, own, other, sure, kld = map(np.array, zip(*rows, strict=True))
        ranks = np.zeros(len(rows), np.int64)
        seen = ScoredTokens(own, ranks, other, sure)
        statistics.add(ScoredTokens(base, ranks, choice, sure), ComparedTokens(seen, kld))
    return statistics


def _log_or_nan(p: float | None) -> float:
    return math.nan if p is None else math.log(max(p, 1e-300))
