"""What every model of a mix says at each place of a text, beside the mix itself."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from llterm.core.judging.rows import Judged, Reals, Seen, best, counted, judge
from llterm.core.judging.tally import Tally
from llterm.core.mixing.blend import Blend, Heard
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
class Side:
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
class Beside:
    """A place of the text."""

    token: int
    """That stands there, or `NONE`."""
    mix: Side
    sides: tuple[Side | None, ...]
    """By model; None: it was not asked, or failed."""

    def differs(self, index: int) -> bool:
        """Whether a model's first choice is not the mix's."""
        side = self.sides[index]
        return side is not None and side.choice != self.mix.choice


def beside(blend: Blend, token: int) -> Beside:
    """All models at one place; `token` stands there, or `NONE`."""
    base = blend.row[None, :]
    tokens = np.array([max(token, 0)])
    p = counted(base)

    def side(heard: Heard) -> Side | None:
        if heard.unknown >= 1.0 and not np.isfinite(heard.row).any():
            return None
        found = judge(base, p, heard.row[None, :], tokens)
        return _side(
            heard.row, token, found, 1.0 - heard.unknown,
            told=heard.tells(token), whole=heard.exact and blend.exact,
        )  # fmt: skip

    own = judge(base, p, base, tokens)
    known = 1.0 if blend.exact else 1.0 - blend.unknown
    mix = _side(blend.row, token, own, known, told=blend.tells(token), whole=True)
    return Beside(token, mix, tuple(side(one) for one in blend.voices))


def _side(row: Reals, token: int, found: Judged, known: float, *, told: bool, whole: bool) -> Side:
    """`told`: the token's probability is no estimate; `whole`: nor is any other."""
    stands = token != NONE
    p = math.exp(found.seen.logprob[0]) if stands else 0.0
    return Side(
        top=tuple(best(row, LISTED)),
        p=p if told or not stands else None,
        rank=int(found.seen.rank[0]) if stands and told else 0,
        kld=max(float(found.kld[0]), 0.0) if whole else None,
        known=known,
    )


def cautions(known: float, choice: Token) -> tuple[Caution, ...]:
    """What makes a model's word at a place doubtful: the mass that is known, its first choice."""
    found: list[Caution] = []
    if known <= 0:
        found.append("no logprobs")
    elif known < LOW_MASS:
        found.append("low mass")
    if not choice.end and (choice.special or not choice.data):
        found.append("empty token")
    return tuple(found)


def tally(places: Iterable[Beside], index: int) -> Tally:
    """llama-perplexity's statistics of a model against the mix, over the places where it spoke.

    What any of them does not tell is not known of all."""
    rows = [
        (_log(one.mix.p), one.mix.choice, _log(side.p), side.choice, side.choice_p,
         math.nan if side.kld is None else side.kld)
        for one in places
        if one.token != NONE and (side := one.sides[index]) is not None
    ]  # fmt: skip
    found = Tally()
    if rows:
        base, choice, own, other, sure, kld = map(np.array, zip(*rows, strict=True))
        ranks = np.zeros(len(rows), np.int64)
        seen = Seen(own, ranks, other, sure)
        found.add(Seen(base, ranks, choice, sure), Judged(seen, kld))
    return found


def _log(p: float | None) -> float:
    return math.nan if p is None else math.log(max(p, 1e-300))
