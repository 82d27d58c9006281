"""What was true of a token of the story when it was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llterm.core.provenance import Arrival
from llterm.session.document import Document


@dataclass(frozen=True, slots=True)
class TokenProvenance:
    """A token of a model's text as it was then."""

    id: int
    """Of the vocabulary of then."""
    model: str
    logprob: float | None
    """Of the raw model."""
    arrival: Arrival
    settings: Mapping[str, Any]

    @property
    def preset(self) -> str:
        """By which preset it was drawn; empty where it was not, or by none."""
        sampling = self.settings.get("sampling")
        found = sampling.get("preset") if isinstance(sampling, Mapping) else None
        return found if isinstance(found, str) else ""


def born_at(document: Document, start: int) -> TokenProvenance | None:
    """The token whose text begins at this byte of the story; None where no model made one there."""
    at = 0
    loom = document.loom
    for node in loom.path():
        size = sum(stop - first for _, first, stop in node.slices)
        if at + size <= start:
            at += size
            continue
        for span in loom.spans(node):
            if at == start and span.index is not None and span.piece.ids is not None and span.data:
                birth, index = document.birth(span.piece.id), span.index
                by = birth.by[index] if index < len(birth.by) else ""
                known = index < len(birth.arrivals)
                return TokenProvenance(
                    span.piece.ids[index],
                    by or span.piece.author,
                    span.logprob,
                    birth.arrivals[index] if known else Arrival(),
                    birth.settings,
                )
            at += len(span.data)
            if at > start:
                return None
    return None
