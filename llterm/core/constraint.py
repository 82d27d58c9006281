"""What a constraint is to a search: which tokens may follow those written so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from llterm.core.distribution import Mask
from llterm.core.tokens import Tail


class Constrained(Protocol):
    """A constraint on the tokens after an anchor."""

    def mask(self, tail: Tail) -> Mask:
        """Which ids may follow these. At a dead end: none."""


@dataclass(frozen=True, slots=True)
class After:
    """A constraint under which some tokens have been accepted already."""

    constraint: Constrained
    written: Tail

    def mask(self, tail: Tail) -> Mask:
        return self.constraint.mask(self.written + tail)
