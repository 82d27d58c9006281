"""The weave settings: LLooM's six, in their documented meaning, and what llterm adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Strategy = Literal["best", "breadth"]


@dataclass(frozen=True, slots=True)
class Rules:
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
    """How many finished suggestions the weave is after: exactly the most probable ones."""
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

    def cutoff_at(self, position: int) -> float:
        """The least probability of a second candidate at this position, counted from 0."""
        return float(self.cutoff * self.multiplier**position)
