"""Tokens written ahead of a model's own draws, and who writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from llterm.core.distribution import Mask
from llterm.core.sampling.drawn_rows import RowToDraw
from llterm.core.sampling.ladder import Mirostat
from llterm.core.tokens import Tail, Vocabulary
from llterm.engine.active_generation import ActiveGeneration

MaskAfter = Callable[[Tail], Mask | None]
"""What a constraint allows after these drawn tokens; None where that takes too long."""


class ProposedText:
    """A generation as it may go on.

    It is written under what the generation itself is drawn under: chain, random numbers, bans,
    constraint. The masks that were looked up for it are those of the draws that follow.
    """

    def __init__(
        self,
        generation: ActiveGeneration,
        vocabulary: Vocabulary,
        most: int,
        mask_after: MaskAfter,
    ) -> None:
        """`most`: tokens that may be proposed, where its end and its constraint let as many."""
        self.generation = generation
        self._vocabulary = vocabulary
        self._mask_after = mask_after
        self.most = min(most, generation.left - 1) if generation.foreseeable else 0
        """Tokens that may be proposed."""
        self._tokens: list[int] = []
        self._masks: list[Mask | None] = [generation.mask]
        """Before each token and after the last."""
        self._text = generation.text_so_far()
        self._ended = False

    @property
    def tokens(self) -> Tail:
        """Those proposed so far."""
        return tuple(self._tokens)

    @property
    def is_open(self) -> bool:
        """Whether another token may be proposed."""
        return len(self._tokens) < self.most and not self._ended

    def row(self) -> RowToDraw:
        """What the next one would be drawn with."""
        return self.generation.row_after(self.tokens, self._text, self._masks[-1])

    def mask_after(self, count: int) -> Mask | None:
        """What its constraint allows after so many of its tokens; None also where that is not known
        yet."""
        return self._masks[count]

    def add(self, id: int, mirostat: Mirostat | None = None) -> None:
        """Propose a token; one that cannot stand there ends the text before it."""
        mask = self._masks[-1]
        if mask is not None and not mask.allowed[id]:
            self._ended = True
            return
        token = self._vocabulary.token(id)
        self._tokens.append(id)
        self._text.count += 1
        self._text.text += b"" if token.special else token.data
        self._text.mirostat = mirostat
        self._masks.append(None)
        if token.end:
            self._ended = True
        elif self.generation.walk is not None and self.is_open:
            self._masks[-1] = self._mask_after(self.generation.drawn + self.tokens)
            self._ended = self._masks[-1] is None


class Proposer(Protocol):
    """Whoever writes ahead. For one thread at a time, as its model's streams."""

    @property
    def name(self) -> str: ...

    def propose(self, texts: Sequence[ProposedText]) -> None:
        """Write each of them as far as may be of use. Raises Stopped, and LltermError."""

    def leave(self, generation: ActiveGeneration) -> None:
        """It is not drawn any more."""

    def close(self) -> None:
        """Free what it holds. Its model, if it has one, is freed with it."""
