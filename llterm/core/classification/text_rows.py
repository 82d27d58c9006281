"""Texts to be classified, and the labels that they are known to have."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from llterm.core.classification.verdicts import AskedLabels
from llterm.errors import UsageError


@dataclass(frozen=True, slots=True)
class TextRow:
    """One text."""

    custom_id: str
    """Its only name among all of them."""
    text: str
    truth: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The labels that it has, by question, where that is known."""


class TextRows(Protocol):
    """Texts, which are read one by one. Holds none of them."""

    @property
    def name(self) -> str:
        """The file's, for people."""

    def digest(self) -> str:
        """SHA-256 of all that they are made of, in hexadecimal."""

    def walk(self) -> Iterator[TextRow]:
        """Every one, in order. Raises UsageError for one that cannot be read."""


def true_places(asked: Sequence[AskedLabels], row: TextRow) -> list[int | None]:
    """Which label is right, by index, for each thing that is asked; None where that is not known.

    Raises UsageError for a label that there is not.
    """
    return [_true_place(each, row) for each in asked]


def _true_place(asked: AskedLabels, row: TextRow) -> int | None:
    named = row.truth.get(asked.question)
    if named is None:
        return None
    if asked.about is not None:
        return 0 if not {asked.about.name, *asked.about.spellings}.isdisjoint(named) else 1
    if len(named) != 1:
        raise UsageError(
            f"Text {row.custom_id[:60]} has {len(named)} labels",
            "One of several is asked for.",
            "With --multi a text may have several.",
        )
    for place, label in enumerate(asked.labels):
        if named[0] in (label.name, *label.spellings):
            return place
    raise UsageError(
        f"Text {row.custom_id[:60]} has a label that there is not",
        f"It is {named[0][:60]!r}.",
        "Give every label that texts have with --label, or as an alias of one.",
    )


@dataclass(frozen=True, slots=True)
class OneText:
    """A text alone."""

    text: str
    name: str = "the text"

    def digest(self) -> str:
        return hashlib.sha256(self.text.encode("utf-8", "surrogateescape")).hexdigest()

    def walk(self) -> Iterator[TextRow]:
        yield TextRow("1", self.text)
