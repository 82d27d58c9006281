"""The sampler chain as a ladder: what every stage did to every candidate, and the draw from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Bits, Ids, Reals
from llterm.core.sampling.candidates import Candidates, some_left
from llterm.core.sampling.sampler_settings import SamplerSettings
from llterm.core.sampling.stage_types import (
    Breakers,
    Position,
    Stage,
    StageResult,
    log_softmax,
    marked,
)
from llterm.core.sampling.stages import active_stages


class Rung(NamedTuple):
    """The candidates after one stage."""

    stage: str
    p: Reals
    """Shape (k,), 0 for the dropped ones; sums to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Ladder:
    """Every candidate of one position and what the chain made of it; arrays of shape (k,)."""

    ids: Ids
    p_base: Reals
    """The raw model's probabilities; their sum is below 1 when not every id is listed."""
    p_final: Reals
    """What is drawn from: sums to 1, 0 where dropped."""
    kept: Bits
    valid: Bits
    """False where the constraint forbids."""
    dropped_by: NDArray[np.object_]
    """The stage that dropped each one, None where kept; `model` where the raw model gives 0."""
    rungs: tuple[Rung, ...]
    """One for each active stage, in the order they ran."""


@dataclass(frozen=True, slots=True)
class Mirostat:
    """What mirostat remembers from one drawn token to the next."""

    mu: float
    """The most surprise it allows, in bits."""

    @classmethod
    def start(cls, settings: SamplerSettings) -> Mirostat:
        return cls(2 * settings.mirostat_tau)

    def after(self, settings: SamplerSettings, p: float) -> Mirostat:
        """The state once a token is chosen that was drawn with `p`.

        0 is a token that the chain did not keep: a person's choice, which teaches nothing.
        """
        if p == 0:
            return self
        error = -math.log2(p) - settings.mirostat_tau
        return Mirostat(self.mu - settings.mirostat_eta * error)


def apply(
    settings: SamplerSettings,
    logprobs: NDArray[np.floating[Any]],
    context: Sequence[int],
    *,
    ids: Ids | None = None,
    mask: Bits | None = None,
    rng: np.random.Generator | None = None,
    log_z: float = 0.0,
    mirostat: Mirostat | None = None,
    breakers: Breakers | None = None,
    first: Sequence[tuple[str, Stage]] = (),
) -> Ladder:
    """The ladder of a position: constraint, `first`, logit bias, bans, then the ordered stages.

    `logprobs`, shape (k,): the raw model's natural logprobs; of `ids`, in any order, or of every
    id when those are left out. `context`: the token ids before the position, newest last. `mask`,
    shape (k,): False where a constraint forbids. `rng`: only XTC draws from it; left out, the
    settings' seed and the length of the context decide. `log_z`: the log of the sum of the model's
    exponentiated logits, which makes logits of the logprobs; only the repeat penalty depends on it.
    `mirostat`: left out, it starts anew. `breakers`: see `breaker_tokens`; DRY needs them. `first`:
    further stages by name.

    Raises NoCandidateLeft when every candidate is forbidden.
    """
    ids = np.arange(len(logprobs), dtype=np.int32) if ids is None else ids
    stages = active_stages(settings)
    if breakers is None and settings.dry_sequence_breakers and "dry" in dict(stages):
        raise ValueError("DRY needs the tokens of its sequence breakers: see breaker_tokens")
    position = Position(
        context=context,
        breakers=breakers or {},
        chance=(rng or generator(settings, len(context))).random,
        mu=(mirostat or Mirostat.start(settings)).mu,
        listed=len(ids),
    )
    logits = np.asarray(logprobs, np.float64) + log_z
    possible = np.isfinite(logits)
    dropped_by = np.empty(len(ids), object)  # NumPy fills it with None
    dropped_by[~possible] = "model"
    alive = np.flatnonzero(possible)
    candidates = some_left("the model", Candidates(ids[alive], logits[alive]))
    constraint = [] if mask is None else [("constraint", _allowing(mask[alive]))]
    rungs = []
    for name, stage in (*constraint, *first, *stages):
        with np.errstate(over="ignore"):
            candidates, keep = candidates.after(name, stage, settings, position)
        dropped_by[alive[~keep]] = name
        alive = alive[keep]
        rungs.append(Rung(name, _spread(candidates, alive, len(ids))))
    return Ladder(
        ids=ids,
        p_base=np.exp(np.asarray(logprobs, np.float64)),
        p_final=_spread(candidates, alive, len(ids)),
        kept=marked(alive, len(ids)),
        valid=np.ones(len(ids), bool) if mask is None else mask,
        dropped_by=dropped_by,
        rungs=tuple(rungs),
    )


def _allowing(allowed: Bits) -> Stage:
    """The first stage: keeps what is allowed, shape (n,), of the n candidates that it gets."""

    def stage(
        settings: SamplerSettings, ids: Ids, logits: Reals, position: Position
    ) -> StageResult:
        return StageResult(logits, allowed)

    return stage


def _spread(candidates: Candidates, alive: NDArray[np.intp], count: int) -> Reals:
    """Their probabilities among all, shape (count,): 0 where none is `alive`."""
    p = np.zeros(count)
    p[alive] = np.exp(log_softmax(candidates.logits))
    return p


def generator(settings: SamplerSettings, position: int, line: int = 0) -> np.random.Generator:
    """Random numbers for one position: with a seed the same each time, however it was reached.

    Lines that are drawn side by side each have their own.
    """
    seed = None if settings.seed is None else (settings.seed, position, line)
    return np.random.default_rng(seed)


def choose(ladder: Ladder, rng: np.random.Generator) -> int:
    """Draws an id; where one is kept (temperature 0), that one."""
    places = np.flatnonzero(ladder.kept)
    return int(ladder.ids[places[drawn_place(ladder.p_final[places], rng.random())]])


def drawn_place(p: Reals, chance: float) -> int:
    """Which of these probabilities, shape (n,), a number from 0 (with) to 1 (without) draws."""
    mass = np.cumsum(p)
    return min(int(np.searchsorted(mass, chance * mass[-1], side="right")), len(p) - 1)
