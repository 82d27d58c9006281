"""The weave settings: LLooM's six, in their documented meaning, and what llterm adds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Strategy = Literal["best", "breadth"]


@dataclass(frozen=True, slots=True)
class WeaveSettings:
    """How a weave grows. Frozen: a change makes a new one, and the tree is derived again."""

    depth: int = 12
    """Most tokens of a suggestion."""
    cutoff: float = 0.10
    """A candidate after the first needs at least this probability at the first position."""
    multiplier: float = 1.0
    """The cutoff at position k is `cutoff * multiplier**k`."""
    split_limit: int = 3
    """Most candidates that go on from one position; 0 sets no limit."""
    beams: int = 25
    """How many finished suggestions the weave is after: exactly the most probable ones. 0: all
    that the cutoffs leave, see `goal`."""
    auto_stop: bool = True
    """End a suggestion at the end of a sentence."""
    stop_comma: bool = False
    """Auto-stop at commas too."""
    stop_newline: bool = False
    """Auto-stop at line ends too."""
    single_line: bool = False
    """End a suggestion before its first line break."""
    stops: tuple[str, ...] = ()
    """Strings of one's own that end a suggestion right after them."""
    heal: bool = True
    """Token healing at the end of the person's own text."""
    strategy: Strategy = "best"
    """Best first, which finds exactly the most probable; or breadth first, in LLooM's order."""
    diverse: bool = False
    """Suggestions that say the same are one: the list is of such that differ in wording."""
    budget: int = 20_000
    """Most distributions one weave may ask for; reached, the result says how much is settled."""

    @property
    def goal(self) -> int:
        """How many suggestions to look for: `beams`, and without a limit as many as the budget, so
        that a search has an end in memory too."""
        return self.beams or self.budget

    def least(self, position: int) -> float:
        """The logprob that a second candidate needs at this position, counted from 0; −inf where
        all go on. A product of probabilities would leave the range of numbers."""
        if self.cutoff <= 0.0:
            return -math.inf
        return math.log(self.cutoff) + position * math.log(self.multiplier)
