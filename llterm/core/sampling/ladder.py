"""The sampler chain as a ladder: what every stage did to every candidate, and the draw from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llterm.core.distribution import Bits, Ids, Reals
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

_LARGEST = 1e150
"""Of a logit: its square, and a sum of those, are still numbers."""


class NoCandidateLeft(ValueError):
    """Model, constraint, bias and bans together forbid every candidate."""


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

    def after(self, settings: SamplerSettings, ladder: Ladder, id: int) -> Mirostat:
        """The state once `id` is chosen.

        A token that the ladder did not keep was a person's choice, which teaches nothing.
        """
        p = float(ladder.p_final[ladder.ids == id].sum())
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

    Raises NothingLeft when every candidate is forbidden.
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
    climb = _Climb(np.asarray(logprobs, np.float64) + log_z)
    if mask is not None:
        climb.take("constraint", StageResult(climb.logits, mask[climb.alive]))
    for name, stage in (*first, *stages):
        # The ends of a knob's range may leave that of numbers; `take` brings them back.
        with np.errstate(over="ignore"):
            step = stage(settings, ids[climb.alive], climb.logits, position)
        climb.take(name, step)
    return Ladder(
        ids=ids,
        p_base=np.exp(np.asarray(logprobs, np.float64)),
        p_final=climb.p(),
        kept=marked(climb.alive, len(ids)),
        valid=np.ones(len(ids), bool) if mask is None else mask,
        dropped_by=climb.dropped_by,
        rungs=tuple(climb.rungs),
    )


class _Climb:
    """The candidates while the chain runs."""

    def __init__(self, logits: Reals) -> None:
        possible = np.isfinite(logits)
        self.alive = np.flatnonzero(possible)
        """Indexes, shape (n,)."""
        self.logits = logits[self.alive]
        self.dropped_by = np.empty(len(logits), object)  # NumPy fills it with None
        self.dropped_by[~possible] = "model"
        self.rungs: list[Rung] = []
        self._check("the model")

    def take(self, name: str, step: StageResult) -> None:
        self.dropped_by[self.alive[~step.keep]] = name
        self.alive = self.alive[step.keep]
        self.logits = step.logits[step.keep].clip(-_LARGEST, _LARGEST)
        self._check(name)
        self.rungs.append(Rung(name, self.p()))

    def p(self) -> Reals:
        """Shape (k,), 0 for the dropped ones."""
        p = np.zeros(len(self.dropped_by))
        p[self.alive] = np.exp(log_softmax(self.logits))
        return p

    def _check(self, name: str) -> None:
        if not len(self.alive):
            raise NoCandidateLeft(f"no candidate is left after {name}")


def generator(settings: SamplerSettings, position: int, line: int = 0) -> np.random.Generator:
    """Random numbers for one position: with a seed the same each time, however it was reached.

    Lines that are drawn side by side each have their own.
    """
    seed = None if settings.seed is None else (settings.seed, position, line)
    return np.random.default_rng(seed)


def choose(ladder: Ladder, rng: np.random.Generator) -> int:
    """Draws an id; where one is kept (temperature 0), that one."""
    places = np.flatnonzero(ladder.kept)
    mass = np.cumsum(ladder.p_final[places])
    drawn = int(np.searchsorted(mass, rng.random() * mass[-1], side="right"))
    return int(ladder.ids[places[min(drawn, len(places) - 1)]])
