"""What a constraint is to a search: which tokens may follow those written so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from llterm.core.distribution import Mask
from llterm.core.tokens import Tail


class Constrained(Protocol):
    """A constraint on the tokens after an anchor."""

    @property
    def texts(self) -> tuple[bytes, ...]:
        """All that may be written, where these are a few texts; else empty."""

    def mask(self, tail: Tail) -> Mask:
        """Which ids may follow these. At a dead end: none."""


@dataclass(frozen=True, slots=True)
class ConstraintState:
    """A constraint under which some tokens have been accepted already."""

    constraint: Constrained
    written: Tail
    text: bytes
    """Their bytes."""

    @property
    def texts(self) -> tuple[bytes, ...]:
        size = len(self.text)
        return tuple(one[size:] for one in self.constraint.texts if one.startswith(self.text))

    def mask(self, tail: Tail) -> Mask:
        return self.constraint.mask(self.written + tail)
