"""Prompt lookup: what followed the same words earlier in the text is proposed to follow them now.

It takes no model. Texts that say again what their prompt says have long runs of it: edits of a
text, answers from documents, code. After Saxena, Prompt Lookup Decoding (2023).
"""

from __future__ import annotations

from collections.abc import Sequence

from llterm.backends.registry import LOOKUP
from llterm.core.tokens import Tail
from llterm.engine.active_generation import ActiveGeneration
from llterm.engine.proposed_text import ProposedText

MOST_PROPOSED = 64
"""Tokens that are ever looked up at once."""
_LENGTHS = (4, 3, 2)
"""Tokens that have to be the same, most first: longer runs say more surely what follows."""


class PromptLookup:
    """Proposes from each text itself. Implements `Proposer`."""

    name = LOOKUP

    def __init__(self) -> None:
        self._runs: dict[ActiveGeneration, RunPlaces] = {}

    def propose(self, texts: Sequence[ProposedText]) -> None:
        for text in texts:
            context = text.generation.context
            places = self._runs.setdefault(text.generation, RunPlaces())
            for id in places.following(context):
                if not text.is_open:
                    break
                text.add(id)

    def leave(self, generation: ActiveGeneration) -> None:
        self._runs.pop(generation, None)

    def close(self) -> None:
        self._runs.clear()


class RunPlaces:
    """Where short runs of tokens stood last in a text that grows."""

    def __init__(self) -> None:
        self._ends: dict[Tail, int] = {}
        self._read = 1
        """How many tokens were read, so that each is read once."""

    def following(self, context: Tail) -> Tail:
        """What followed the longest run at the end of the text where it stood last; empty where it
        stood nowhere else."""
        for end in range(self._read, len(context)):
            for length in _LENGTHS:
                if length <= end:
                    self._ends[context[end - length : end]] = end
        self._read = max(len(context), 1)
        for length in _LENGTHS:
            if length <= len(context):
                place = self._ends.get(context[-length:])
                if place is not None:
                    return context[place : place + MOST_PROPOSED]
        return ()
