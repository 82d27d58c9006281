"""What led a model to a token: questions, methods and answers. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from llterm.core.attribution_methods import SHARES, AttributionSettings
from llterm.core.query import Cost
from llterm.core.tokens import Tail, common

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Question:
    """Which token, after what."""

    tokens: Tail
    """Everything before it that the model sees."""
    head: int
    """How many of these are not the text's own: the model's prefix, a hidden text."""
    target: int
    """Id of the token, whether it stands there or only might."""


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """One value a token."""

    how: AttributionSettings
    first: int
    """Index in the question's tokens of the first that has a value; the rest follow it."""
    values: Values
    """Shape (tokens,). Attention: the share of it. Leave-one-out: the target's logprob less what
    it is without the token. Input × gradient and integrated gradients: part of the target's
    logprob, natural. Saliency: length of its gradient."""
    logprob: float | None = None
    """The target's, where the method finds it out: natural log."""
    without: Values | None = None
    """Leave-one-out: the target's logprob without each token."""
    elsewhere: float | None = None
    """Attention: the share of the tokens before `first`, a hidden text and the model's prefix."""
    layers: tuple[int, ...] = ()
    """Attention: numbers of the layers that have it."""
    gap: float | None = None
    """Integrated gradients: how far their sum is from what it should be, as a part of that."""
    steps: int = 0
    """Integrated gradients: points on the way from the baseline."""
    cost: Cost = field(default_factory=Cost)
    notes: tuple[str, ...] = ()

    @property
    def heat(self) -> Values:
        """Each value against the largest size among them, −1 to 1."""
        most = float(np.abs(self.values).max(initial=0.0))
        return self.values / most if most > 0 else np.zeros(len(self.values))

    def told(self, place: int) -> str:
        """A value with its unit: shares in percent, parts of a logprob in bits."""
        value = float(self.values[place])
        if self.how.method in SHARES:
            return f"{value:.1%}"
        if self.how.method == "saliency":
            return f"{value:.3g}"
        return f"{value / math.log(2):+.2f} bits"

    def strongest(self, count: int) -> list[int]:
        """Places among the values with the largest ones, largest first."""
        order = np.argsort(-np.abs(self.values), kind="stable")
        return [int(place) for place in order[:count]]


def begin(question: Question, most: int) -> int:
    """Index of the first token of the text's own that is among the last `most`."""
    return max(question.head, len(question.tokens) - most)


def cut(question: Question, limit: int, prefix: int) -> Question:
    """The question after the model's own `prefix` and the last `limit` tokens only."""
    tokens = question.tokens
    dropped = len(tokens) - prefix - limit
    if dropped <= 0:
        return question
    head = max(question.head - dropped, prefix)
    return Question(tokens[:prefix] + tokens[-limit:], head, question.target)


@dataclass(frozen=True, slots=True)
class Omissions:
    """The texts of leave-one-out: all of them begin with `anchor`."""

    first: int
    """Index of the first token that is left out; the others follow it."""
    anchor: Tail
    whole: Tail
    """What follows the anchor with nothing left out."""
    tails: Sequence[Tail]
    """What follows it without the first, the second, …"""


def omissions(question: Question, last: int) -> Omissions:
    """Leave out each of the last tokens in turn."""
    first = begin(question, last)
    # The token before them is evaluated with each text: its logits say what follows it.
    start = max(first - 1, 0)
    whole = question.tokens[start:]
    tails = [whole[:at] + whole[at + 1 :] for at in range(first - start, len(whole))]
    return Omissions(first, question.tokens[:start], whole, tails)


def omission_cost(left_out: Omissions, *, shares: bool) -> int:
    """Tokens to evaluate after the anchor; equal texts once.

    `shares`: only what follows the common beginning with the whole text is evaluated, a token at
    least; otherwise each text from the anchor on.
    """
    whole = left_out.whole
    sizes = [len(whole)]
    for tail in set(left_out.tails):
        sizes.append(len(tail) - (min(common(tail, whole), len(tail) - 1) if shares else 0))
    return sum(sizes)
