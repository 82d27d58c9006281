"""What is read of a loom after it was opened: every such read goes through here.

The file may be gone by then, cut off, overwritten, or on a stick that was pulled out. The story and
its tree are in memory; for the rest it is said what cannot be had, and the work goes on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeVar

from llterm.core.history import UndoStep
from llterm.core.pieces import Piece
from llterm.errors import LltermError
from llterm.store.database import Connection, Row
from llterm.store.stored_rows import piece_or_text, read_extra, read_samples, read_step
from llterm.store.values import Damage, json_of, text

_SAID = {
    "piece": "the tokens of {n} {texts}, who wrote {them}, and what {they} {were} chosen from",
    "birth": "what {n} {texts} of a model {were} chosen from",
    "step": "up to {n} earlier steps of the history",
    "extra": "fields of other programs, if there were any",
    "lines": "samples, if there were any",
    "weave": "suggestions that were kept",
}
"""Kinds of what is read late, as people are told of them."""


class Unreadable:
    """Row ids by kind, and why; a kind that comes to it for the first time is told on."""

    def __init__(
        self, heard: Callable[[Unreadable], None] = lambda _: None, outer: Unreadable | None = None
    ) -> None:
        """`outer` takes down the same."""
        self.rows: dict[str, set[int]] = {}
        self.trouble: LltermError | None = None
        """What the first of them was refused with."""
        self._heard = heard
        self._outer = outer

    def __bool__(self) -> bool:
        return bool(self.rows)

    def note(self, kind: str, rows: Collection[int], trouble: LltermError) -> None:
        """These rows were asked for in vain."""
        self.trouble = self.trouble or trouble
        new = kind not in self.rows
        self.rows.setdefault(kind, set()).update(rows)
        if new:
            self._heard(self)
        if self._outer is not None:
            self._outer.note(kind, rows, trouble)

    def take(self, other: Unreadable) -> None:
        """What is missing there is missing here too."""
        for kind, rows in other.rows.items():
            assert other.trouble is not None
            self.note(kind, rows, other.trouble)

    @property
    def said(self) -> str:
        """What and how much, in words; empty where nothing is missing."""
        return "; ".join(
            words.format(n=f"{n:,}", texts="text" if n == 1 else "texts",
                         them="it" if n == 1 else "them",
                         they="it" if n == 1 else "they", were="was" if n == 1 else "were")
            for kind, words in _SAID.items() if (n := len(self.rows.get(kind, ())))
        )  # fmt: skip


ODD = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError, RecursionError)
"""What reading rows that make no sense raises."""
UNREADABLE = (sqlite3.Error, OSError, *ODD)
_Found = TypeVar("_Found")


class LateReads:
    """Reads rows of an open loom when they are asked for."""

    def __init__(self, database: Connection, trouble: Callable[[Exception], LltermError]) -> None:
        """`trouble` says what is wrong with the file in a person's words."""
        self._database = database
        self._trouble = trouble
        self.missing: Unreadable | None = None
        """Takes down what cannot be read. With None such a read raises LltermError instead."""

    def read_from(self, database: Connection) -> None:
        """Read by another connection from now on: that of whoever writes."""
        self._database = database

    @contextmanager
    def sparing(self) -> Iterator[Unreadable]:
        """While the block runs, what cannot be read is left out and taken down here."""
        before = self.missing
        self.missing = Unreadable(outer=before)
        try:
            yield self.missing
        finally:
            self.missing = before

    def pieces(self, texts: Mapping[int, bytes], ids: Collection[int]) -> list[Piece]:
        """The pieces of these texts, their births excepted."""
        sql = (
            "select id, author, created, ids, sizes, overlap, fingerprint, logprobs from piece"
            " where id = ?"
        )
        return list(self._each("piece", sql, ids, lambda row: self._piece(row, texts[row[0]])))

    def births(self, ids: Iterable[int]) -> dict[int, str]:
        """The births (`core.provenance`) of these pieces."""
        sql = "select id, birth from piece where id = ?"
        return dict(self._each("birth", sql, ids, _birth))

    def extras(self) -> dict[int, str]:
        """Fields of other programs' files by node, as JSON; the root's are the whole file's."""
        return dict(self._rows("extra", "select node, fields from extra", read_extra))

    def samples(self) -> dict[int, tuple[float, bytes]]:
        """The samples by place, with when they were drawn."""
        return dict(self._rows("lines", "select place, drawn, blob from lines", _samples_at))

    def steps(self, before: int, count: int) -> list[UndoStep] | None:
        """Steps done before the one with this id, the newest `count` of them, oldest first; None
        where not one can be read, and there may be some."""
        sql = (
            "select id, label, silent, undone, rows from step where not undone and id < ?"
            " order by id desc limit ?"
        )
        backwards: list[UndoStep] = []
        try:
            for row in self._database.rows(sql, (before, count)):
                backwards.append(read_step(row)[0])
        except UNREADABLE as error:
            # A history has no gaps: what lies before a step that cannot be read is out of reach.
            self._miss("step", range(1, backwards[-1].id if backwards else before), error)
            return backwards[::-1] or None
        return backwards[::-1]

    def weave(self, node: int) -> bytes | None:
        """The suggestions kept for a place. They are a cache: broken ones are as good as none."""
        sql = "select blob from weave where node = ?"
        with self.sparing():
            return next(self._rows("weave", sql, lambda row: bytes(row[0]), node), None)

    def _piece(self, row: Row, content: bytes) -> Piece:
        """The piece; the text alone where its tokens make no sense."""
        piece, whole = piece_or_text(row, content)
        if not whole:
            self._miss("piece", (piece.id,), Damage(f"the tokens of text {piece.id} make no sense"))
        return piece

    def _each(
        self, kind: str, sql: str, ids: Iterable[int], meaning: Callable[[Row], _Found]
    ) -> Iterator[_Found]:
        """One row an id; those that cannot be read are left out."""
        for id in ids:
            try:
                row = self._database.execute(sql, (id,)).fetchone()
                if row is None:
                    raise ValueError("a row is missing")
                value = meaning(row)
            except UNREADABLE as error:
                self._miss(kind, (id,), error)
            else:
                yield value

    def _rows(
        self, kind: str, sql: str, meaning: Callable[[Row], _Found], *values: int
    ) -> Iterator[_Found]:
        """All rows; those that cannot be read are left out."""
        try:
            for row in self._database.rows(sql, values):
                try:
                    yield meaning(row)
                except ODD as odd:
                    self._miss(kind, (0,), odd)
        except (sqlite3.Error, OSError) as error:
            self._miss(kind, (0,), error)

    def _miss(self, kind: str, rows: Collection[int], error: Exception) -> None:
        trouble = self._trouble(error)
        if self.missing is not None:
            self.missing.note(kind, rows, trouble)
        elif not isinstance(error, Damage):  # Which was told when the loom was opened.
            raise trouble from error


def _birth(row: Row) -> tuple[int, str]:
    id, birth = row
    if birth:
        json_of(birth)
    return id, text(birth)


def _samples_at(row: Row) -> tuple[int, tuple[float, bytes]]:
    place, drawn, blob = read_samples(row)
    return place, (drawn, blob)
