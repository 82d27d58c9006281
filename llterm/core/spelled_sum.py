"""The whole probability of one text, over the token paths that spell it, and what may be missing.

There are more paths than can be followed, but a beginning's probability bounds what all paths
through it add. So paths are followed until those left could add less than `UNSEEN` of the sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from llterm.core.tokens import Tail

UNSEEN = 1e-4
"""What paths not looked at may add to a text's probability, as a share of it."""


@dataclass(slots=True)
class SpelledSum:
    """One text's probability, as far as its paths were followed. Logs throughout: a long text's
    probability is less than a float can be."""

    logprobs: list[float] = field(default_factory=list)
    """Of the paths found."""
    leading: dict[Tail, float] = field(default_factory=dict)
    """Logprobs of the open beginnings that may still become it, by tail."""
    hidden: float = 0.0
    """What candidates that a server does not list may add, as a probability."""
    _settled: bool = False

    @property
    def logprob(self) -> float:
        """Of all paths together; −∞ where none is found."""
        return log_sum(self.logprobs)

    @property
    def unseen(self) -> float:
        """The probability that paths not looked at add at the most."""
        return math.exp(log_sum(self.leading.values())) + self.hidden

    @property
    def settled(self) -> bool:
        """Whether looking further changes next to nothing. Once it is so, it stays so."""
        if not self._settled:
            left = log_sum(self.leading.values())
            self._settled = left == -math.inf or left <= math.log(UNSEEN) + self.logprob
        return self._settled


def log_sum(logprobs: Iterable[float]) -> float:
    """The natural log of the sum of these probabilities; −∞ of none."""
    terms = list(logprobs)
    best = max(terms, default=-math.inf)
    if best == -math.inf:
        return best
    return best + math.log(math.fsum(math.exp(each - best) for each in terms))
