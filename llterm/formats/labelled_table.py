"""Texts of a table, with the labels that it says they have; and texts that are lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from llterm.core.classification.text_rows import TextRow
from llterm.core.display_text import label_text
from llterm.core.json_text import json_text
from llterm.errors import UsageError
from llterm.formats.row_lines import RowFile
from llterm.formats.template_rows import ID, RowTable


@dataclass(frozen=True, slots=True)
class LabelledTable:
    """A `TextRows` of a table: CSV with a line of names, or JSON, an object a line."""

    table: RowTable
    questions: Sequence[str]
    """A column may be named as one of these: it has the labels that are right for it."""
    text: str = "text"
    """The column that the texts are in."""
    truth: str = "label"
    """The column of the right labels, where there is one question; it may be missing."""
    several: bool = False
    """A text may have several, in a list or with | between."""

    @property
    def name(self) -> str:
        return self.table.file.name

    def digest(self) -> str:
        return self.table.file.digest()

    def walk(self) -> Iterator[TextRow]:
        seen: set[str] = set()
        for place, columns in self.table.walk():
            text = columns.get(self.text)
            if not isinstance(text, str):
                raise UsageError(
                    f"Row {place.number:,} of {self.name} has no {label_text(self.text)}",
                    f"It has {', '.join(map(label_text, columns)) or 'nothing'}.",
                    "Name the column that the texts are in with --text-column.",
                )
            named = columns.get(ID)
            custom_id = str(named) if named not in (None, "") else f"{place.number}"
            if custom_id in seen:
                raise UsageError(
                    f"The custom_id {label_text(custom_id)} is given twice",
                    f"The second is row {place.number:,} of {self.name}.",
                    "Results are found by custom_id: give each row its own.",
                )
            seen.add(custom_id)
            yield TextRow(custom_id, text, self._truths(columns))

    def _truths(self, columns: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
        truths: dict[str, tuple[str, ...]] = {}
        for question in self.questions:
            column = self.truth if len(self.questions) == 1 else question
            value = columns.get(column)
            if value not in (None, ""):
                truths[question] = self._labels(value)
        return truths

    def _labels(self, value: Any) -> tuple[str, ...]:
        if isinstance(value, str):
            return tuple(value.split("|")) if self.several else (value,)
        values = value if isinstance(value, list) else [value]
        return tuple(each if isinstance(each, str) else json_text(each) for each in values)


@dataclass(frozen=True, slots=True)
class TextLines:
    """A `TextRows` of a file, each line of which is a text; empty ones are passed over."""

    file: RowFile

    @property
    def name(self) -> str:
        return self.file.name

    def digest(self) -> str:
        return self.file.digest()

    def walk(self) -> Iterator[TextRow]:
        for number, (_, line) in enumerate(self.file.lines(), 1):
            if text := line.rstrip("\r\n"):
                yield TextRow(f"{number}", text)
