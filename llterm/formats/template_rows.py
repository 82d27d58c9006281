"""Requests of a template and a table: each row's text, drawn as often as is wanted.

A table is CSV with a line of names, or JSON, an object a line.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from llterm.core.batch_row import CHATS, COMPLETIONS, BatchRow, RowPlace
from llterm.core.row_template import RowTemplate
from llterm.errors import UsageError
from llterm.formats.row_lines import MOST_BYTES, RowFile, json_object

ID = "custom_id"
"""A column that names the rows; without it their numbers do."""
_HINT = "Rows are CSV with a line of names, or a JSON object a line."
Columns = Mapping[str, Any]


class RowTable:
    """The rows of a table, one at a time."""

    def __init__(self, file: RowFile) -> None:
        self.file = file
        self._objects = next((line[:1] == "{" for _, line in file.lines() if line.strip()), False)
        """It is JSON: no column's name begins so."""
        self._header: list[str] | None = None

    def walk(self) -> Iterator[tuple[RowPlace, Columns]]:
        """Every row, in order. Raises UsageError for one that cannot be read."""
        if not self._objects:
            yield from self._csv_rows()
            return
        for number, (offset, line) in enumerate(self.file.lines(), 1):
            if line.strip():
                yield RowPlace(offset, number), self._object(line, number)

    def row(self, place: RowPlace) -> Columns:
        """The row at a place that `walk` named."""
        if self._objects:
            return self._object(self.file.line(place.offset), place.number)
        lines = (line for _, line in self.file.lines(place.offset))
        return self._record(next(_records(lines)), place.number)

    def _object(self, line: str, number: int) -> Columns:
        try:
            return json_object(line)
        except ValueError as error:
            cause = f"{str(error)[:1].upper()}{str(error)[1:]}."
            raise self.file.wrong(number, cause, _HINT) from error

    def _csv_rows(self) -> Iterator[tuple[RowPlace, Columns]]:
        begins: list[int] = []

        def lines() -> Iterator[str]:
            for offset, line in self.file.lines():
                begins.append(offset)
                yield line

        records, number = _records(lines()), 0
        self._header = None
        while True:
            begins.clear()
            try:
                fields = next(records, None)
            except csv.Error as error:
                raise self._wrong(number + 1, f"{error}.") from error
            if fields is None:
                break
            if self._header is None:
                self._header = self._names(fields)
            elif fields:
                number += 1
                yield RowPlace(begins[0], number), self._record(fields, number)
        if self._header is None:
            raise UsageError(f"{self.file.name} is empty", "", _HINT)

    def _names(self, fields: list[str]) -> list[str]:
        twice = [name for name in fields if fields.count(name) > 1]
        if twice or not any(fields):
            cause = f"{twice[0] or 'An empty name'} stands there twice." if twice else ""
            raise self.file.wrong(1, cause or "It names no columns.", _HINT)
        return fields

    def _record(self, fields: list[str], number: int) -> Columns:
        assert self._header is not None
        if len(fields) != len(self._header):
            cause = f"It has {len(fields)} fields, and there are {len(self._header)} columns."
            raise self._wrong(number, cause)
        return dict(zip(self._header, fields, strict=True))

    def _wrong(self, number: int, cause: str) -> UsageError:
        return UsageError(f"Row {number:,} of {self.file.name} cannot be taken", cause, _HINT)


def _records(lines: Iterator[str]) -> Iterator[list[str]]:
    csv.field_size_limit(MOST_BYTES)
    return csv.reader(lines, strict=True)


@dataclass(frozen=True, slots=True)
class TemplateRows:
    """A `BatchInput` of a template's text in each row, `count` times."""

    table: RowTable
    template: RowTemplate
    count: int = 1
    chat: bool = False
    """The text is said to the model, which replies; otherwise it goes on with it."""
    system: RowTemplate | None = None
    """In a chat: how the model is to behave, of the same columns."""

    @property
    def name(self) -> str:
        return self.table.file.name

    def digest(self) -> str:
        parts = (self.template.parts, self.count, self.chat, self.system and self.system.parts)
        return hashlib.sha256(f"{self.table.file.digest()}{parts}".encode()).hexdigest()

    def walk(self) -> Iterator[tuple[RowPlace, BatchRow]]:
        for place, columns in self.table.walk():
            for template in filter(None, (self.template, self.system)):
                template.check(list(columns))
            for sample in range(1, self.count + 1):
                at = place._replace(sample=sample)
                yield at, self._row(at, columns)

    def row(self, place: RowPlace) -> BatchRow:
        return self._row(place, self.table.row(place))

    def _row(self, place: RowPlace, columns: Columns) -> BatchRow:
        named = columns.get(ID)
        name = str(named) if isinstance(named, str | int) and named != "" else f"{place.number}"
        text = self.template.filled(columns)
        body: dict[str, Any]
        if self.chat:
            said = [("system", self.system.filled(columns) if self.system else ""), ("user", text)]
            messages = [{"role": role, "content": content} for role, content in said if content]
            body = {"messages": messages}
        else:
            body = {"prompt": text}
        custom_id = name if self.count == 1 else f"{name}-{place.sample}"
        url = CHATS if self.chat else COMPLETIONS
        return BatchRow(custom_id, url, body, columns, place.sample)
