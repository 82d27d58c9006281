"""What several models say at one place, and what the mix makes of it."""

from __future__ import annotations

from dataclasses import dataclass

from llterm.core.mixing.pools import Reals


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """One model's distribution over the mix's alphabet."""

    row: Reals
    """Logprobs, shape (n,)."""
    exact: bool = True
    """The model's whole vocabulary was known; otherwise only a server's top candidates."""
    unknown: float = 0.0
    """Mass that is an estimate: not listed by a server, or of paths that were dropped."""


@dataclass(frozen=True, slots=True, eq=False)
class Blend:
    """The mix's distribution at one place, and each model's own."""

    row: Reals
    """The mix's logprobs, shape (n,)."""
    voices: tuple[Heard, ...]
    """By model, in the mix's order."""
    speakers: tuple[int, ...]
    """Indices of the models that decided."""

    @property
    def exact(self) -> bool:
        return all(self.voices[index].exact for index in self.speakers)

    @property
    def unknown(self) -> float:
        """The most that is unknown of any model that decided."""
        return max(self.voices[index].unknown for index in self.speakers)
