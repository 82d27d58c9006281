"""How far texts are written ahead, and what of it is evaluated with their newest tokens.

The large model draws every token itself, with the number that it would draw it with anyway. What
was written ahead only decides how many of its rows are evaluated in one decode: a text is the one
that it is without a draft, and so is every distribution.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import TimeoutError as LateError
from dataclasses import dataclass
from functools import partial

from llterm.backends.llamacpp.side_context import TokenRun
from llterm.constraints.mask_thread import MaskThread
from llterm.core.distribution import Mask
from llterm.core.tokens import Tail, Vocabulary
from llterm.engine.active_generation import ActiveGeneration
from llterm.engine.proposed_text import ProposedText, Proposer
from llterm.engine.slot_plan import SlotRow
from llterm.errors import LltermError

log = logging.getLogger(__name__)

ROWS = 8
"""Rows that a decode has at the most where texts are written ahead: with more, rows cost on a
processor what the tokens would; see docs/performance.md."""
_MASK_SECONDS = 0.01
"""A mask that takes longer ends what is written ahead: others wait for the step."""


@dataclass(frozen=True, slots=True)
class OpenedDraft:
    """Who writes ahead, and how many tokens at most."""

    proposer: Proposer
    tokens: int


class DraftLines:
    """Who writes ahead for one model's texts, and how far."""

    def __init__(
        self,
        draft: OpenedDraft,
        vocabulary: Vocabulary,
        masks: MaskThread,
        least: int,
        cells: int,
    ) -> None:
        """`least`: tokens that a text has in a decode at least, so that its figures do not depend
        on how many are proposed. `cells`: tokens that a slot has room for."""
        self._proposer = draft.proposer
        self._tokens = draft.tokens
        self._vocabulary = vocabulary
        self._masks = masks
        self._least = least
        self._cells = cells
        self._failed = False

    def proposed(
        self, rows: Sequence[SlotRow], generations: Sequence[ActiveGeneration]
    ) -> Sequence[ProposedText]:
        """A text for each row's generation; one that nothing was written for is empty. Raises
        Stopped."""
        most = min(self._tokens, ROWS // len(generations) - 1, self._room(rows) - 1)
        texts = [
            ProposedText(each, self._vocabulary, most, partial(self._mask_after, each))
            for each in generations
        ]
        if most > 0 and not self._failed:
            try:
                self._proposer.propose([text for text in texts if text.is_open])
            except LltermError as error:
                self._failed = True
                log.error("nothing is written ahead any more: %s", error.title)
        return texts

    def lines(self, rows: Sequence[SlotRow], texts: Sequence[ProposedText]) -> list[TokenRun]:
        """The rows with what was written ahead. All are equally long: llama.cpp evaluates those in
        one graph, and the kernels go by their shape. Ends are filled up with a token of no account.
        """
        length = max(self._least, *(1 + len(text.tokens) for text in texts))
        length = min(length, self._room(rows))
        return [
            TokenRun(
                row.slot, row.start, ((row.token, *text.tokens) + (row.token,) * length)[:length]
            )
            for row, text in zip(rows, texts, strict=True)
        ]

    def _room(self, rows: Sequence[SlotRow]) -> int:
        """Tokens that fit into each of these slots still."""
        return self._cells - max(row.start for row in rows)

    def leave(self, generation: ActiveGeneration) -> None:
        """It is not drawn any more."""
        self._proposer.leave(generation)

    def close(self) -> None:
        self._proposer.close()

    def _mask_after(self, generation: ActiveGeneration, drawn: Tail) -> Mask | None:
        assert generation.walk is not None
        looked_up = self._masks.call(partial(generation.walk.compiled.mask, drawn))
        try:
            return looked_up.result(_MASK_SECONDS)
        except (LateError, LltermError):
            return None
