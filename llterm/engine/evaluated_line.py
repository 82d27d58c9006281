"""A text's newest token and what was written ahead of it, evaluated together, while it is drawn."""

from __future__ import annotations

from collections.abc import Sequence

from llterm.core.distribution import Mask
from llterm.core.sampling.drawn_rows import RowDraw
from llterm.core.tokens import Vocabulary
from llterm.engine.active_generation import ActiveGeneration
from llterm.engine.generation import GeneratedToken, GenerationEnd
from llterm.engine.proposed_text import ProposedText


class EvaluatedLine:
    """Rows that a text can be drawn from, one after the other, as long as it goes as proposed."""

    def __init__(self, generation: ActiveGeneration, text: ProposedText | None = None) -> None:
        """`text`: what was written ahead; None: nothing is."""
        self.generation = generation
        self._text = text
        self._tokens = () if text is None else text.tokens
        self.rows = 0
        """Those that were drawn from."""
        self.ended = False
        """The text has ended."""
        self.goes_on = False
        """The next row can be drawn from: it is evaluated after the token that was drawn."""
        self.accepted = 0
        """Of the tokens written ahead, those that were then drawn."""
        generation.proposed += self.proposed

    @property
    def proposed(self) -> int:
        """Tokens written ahead."""
        return len(self._tokens)

    @property
    def mask(self) -> Mask | None:
        """What the constraint allows for the next token."""
        return None if self._text is None else self._text.mask_after(self.rows)

    def took(
        self, draw: RowDraw | None, vocabulary: Vocabulary
    ) -> Sequence[GeneratedToken | GenerationEnd]:
        """Take the next token in; returns what comes of it. A proposal counts as accepted when it
        is the token that was drawn."""
        proposal = self._tokens[self.rows] if self.rows < len(self._tokens) else None
        accepted = draw is not None and draw.id == proposal
        self.accepted += accepted
        self.generation.accepted += accepted
        items = self.generation.took(draw, vocabulary)
        self.rows += 1
        self.ended = isinstance(items[-1], GenerationEnd)
        self.goes_on = accepted and not self.ended
        if self.goes_on and self.generation.walk is not None:
            self.goes_on = self.mask is not None
        return items
