"""A request of many: what is asked, and the input that it is a part of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from llterm.core.json_text import json_text

COMPLETIONS = "/v1/completions"
CHATS = "/v1/chat/completions"
SEEDS = 1 << 53
"""Seeds are below this: JSON's readers keep them exactly."""


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One request."""

    custom_id: str
    """Its only name among all of them."""
    url: str
    """What it asks: `COMPLETIONS` or `CHATS`."""
    body: Mapping[str, Any]
    columns: Mapping[str, Any] | None = None
    """Of a template's table; None where the request itself was given."""
    sample: int = 1
    """Of several texts of one row of a table, which one, from 1."""

    @property
    def beginning(self) -> bytes:
        """What the model reads, as far as it can be told without the model; for putting requests
        that begin alike beside each other."""
        said = self.body.get("prompt") if self.url == COMPLETIONS else self.body.get("messages")
        return said.encode() if isinstance(said, str) else json_text(said, compact=True).encode()

    def seed(self, run: int) -> int:
        """What it is drawn with, by the run's seed: the same in any order, and alone."""
        named = f"{run}\0{self.custom_id}\0{self.sample}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(named, digest_size=8).digest()) % SEEDS


class RowPlace(NamedTuple):
    """Where a row of an input is."""

    offset: int
    """Of its first byte."""
    number: int
    """Of the row, from 1."""
    sample: int = 1


class BatchInput(Protocol):
    """Rows that are read one by one, and again, in any order. Holds none of them."""

    @property
    def name(self) -> str:
        """The file's, for people."""

    def digest(self) -> str:
        """SHA-256 of all that the rows are made of, in hexadecimal."""

    def walk(self) -> Iterator[tuple[RowPlace, BatchRow]]:
        """Every row, in order. Raises UsageError, with its place, for one that cannot be."""

    def row(self, place: RowPlace) -> BatchRow:
        """The row at a place that `walk` named."""
