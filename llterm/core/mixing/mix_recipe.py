"""How a text is made by several models: whose turn it is, and who a token came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from llterm.core.distribution import Reals
from llterm.core.mixing.opinion_pools import OpinionPool
from llterm.errors import UsageError
from llterm.number_format import count_of

Mode = Literal["round-robin", "democratic", "reference"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A mode of mixing and what it needs. Raises UsageError where that does not fit together."""

    mode: Mode
    pool: OpinionPool
    """Of the democratic mode; its weights also say how many models there are."""
    turn: int = 1
    """Tokens in a row by one model, in a round robin."""
    reference: int = 0
    """Index of the model whose tokens are taken in the reference mode."""

    def __post_init__(self) -> None:
        if self.turn < 1:
            raise UsageError("A turn has no tokens", "", "Give each model 1 token at least.")
        if not 0 <= self.reference < self.count:
            raise UsageError("There is no such reference", "", "It must be one of the models.")

    @property
    def count(self) -> int:
        return len(self.pool.weights)

    def speakers(self, position: int) -> tuple[int, ...]:
        """Indices of the models that decide at a position, counted from 0 where the mix began.

        The first model begins; a round robin leaves out models of weight 0.
        """
        if self.mode == "reference":
            return (self.reference,)
        heard = tuple(index for index, weight in enumerate(self.pool.weights) if weight)
        if self.mode == "round-robin":
            return (heard[position // self.turn % len(heard)],)
        return heard

    def decide(self, voices: Reals, position: int) -> Reals:
        """The mix's logprobs, shape (n,), from those of its speakers, shape (speakers, n)."""
        if self.mode != "democratic":
            return np.asarray(voices[0], np.float64)
        weights = tuple(self.pool.weights[index] for index in self.speakers(position))
        return OpinionPool(weights, self.pool.kind, self.pool.plausible).pooled(voices)

    def formula(self, names: Sequence[str]) -> str:
        """What decides, in one line."""
        if self.mode == "democratic":
            return self.pool.formula(names)
        if self.mode == "reference":
            return f"p(x) = {names[self.reference]}(x)"
        heard = [names[index] for index, weight in enumerate(self.pool.weights) if weight]
        each = count_of(self.turn, "token")
        return f"p(x) = that of {', '.join(heard)} in turn, {each} each"


def supporter(voices: Reals, chosen: int) -> int | None:
    """Whose token it is: of the models whose first choice it is, the one most sure of it.

    None where it is no model's first choice: the mix found it. `voices` has shape (models, n).
    """
    sure = [
        (float(voice[chosen]), -index)
        for index, voice in enumerate(voices)
        if int(np.argmax(voice)) == chosen
    ]
    return -max(sure)[1] if sure else None
