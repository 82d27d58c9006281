"""What a model's figures are computed with: llterm's exact kernels, or the fastest that llama.cpp
has on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

KernelKind = Literal["exact", "fast"]


@dataclass(frozen=True, slots=True)
class KernelDrift:
    """How far fast kernels are from the exact ones, over the tokens of a fixed text."""

    tokens: int
    """How many were scored by both."""
    mean: float
    """Mean of |Δ ln p| of the token that stands there, in nats."""
    worst: float
    """The largest of these."""

    @property
    def words(self) -> str:
        return (
            f"ln p is off by {self.mean:.2g} on average and {self.worst:.2g} at worst, over"
            f" {self.tokens} tokens"
        )


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels in force for a model in this process."""

    kind: KernelKind = "exact"
    drift: KernelDrift | None = None
    """Of fast ones."""
    switches: str = ""
    """Of fast ones: what is switched on, in words."""
    trouble: str = ""
    """Why exact ones are in force where fast ones were asked for; a sentence without its stop."""

    @property
    def words(self) -> str:
        """What fast ones are and what they cost, or why there are none; empty for exact ones."""
        drift = f"; {self.drift.words}" if self.drift is not None else ""
        return f"cannot be had: {self.trouble}" if self.trouble else f"{self.switches}{drift}"

    def note(self, model: str) -> str:
        """What a person must know of them; empty for exact ones that nobody asked to be others."""
        if self.trouble:
            return f"{model}: exact kernels are used, for fast ones {self.words}"
        return f"{model}: fast kernels: {self.words}" if self.kind == "fast" else ""


EXACT_KERNELS = Kernels()


def of_several(kernels: Iterable[Kernels | None]) -> Kernels | None:
    """Of models that are mixed: fast where those of any are. None where none is in this process."""
    local = [each for each in kernels if each is not None]
    return next((each for each in local if each.kind == "fast"), local[0] if local else None)
