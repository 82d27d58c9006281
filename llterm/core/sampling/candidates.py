"""The candidates of a place while the chain runs over them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from llterm.core.distribution import Bits, Ids, Reals
from llterm.core.sampling.sampler_settings import SamplerSettings
from llterm.core.sampling.stage_types import Position, Stage

LARGEST = 1e150
"""Of a logit: its square, and a sum of those, are still numbers."""


class NoCandidateLeft(ValueError):
    """Model, constraint, bias and bans together forbid every candidate."""


class Candidates(NamedTuple):
    """Those that no stage dropped so far; arrays of shape (n,), n at least 1."""

    ids: Ids
    logits: Reals

    def after(
        self, name: str, stage: Stage, settings: SamplerSettings, position: Position
    ) -> tuple[Candidates, Bits]:
        """Those that a stage keeps, and which of these they are, shape (n,).

        Whoever calls lets numbers overflow. Raises NoCandidateLeft.
        """
        step = stage(settings, self.ids, self.logits, position)
        kept = step.logits[step.keep]
        if step.logits is not self.logits:
            # The ends of a knob's range may leave that of numbers.
            kept = np.minimum(np.maximum(kept, -LARGEST), LARGEST)
        return some_left(name, Candidates(self.ids[step.keep], kept)), step.keep


def some_left(name: str, candidates: Candidates) -> Candidates:
    """The candidates themselves. Raises NoCandidateLeft, naming the stage, where there are none."""
    if not len(candidates.ids):
        raise NoCandidateLeft(f"no candidate is left after {name}")
    return candidates
