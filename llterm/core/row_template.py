"""A text with places for a table's columns: `Write about {topic}.`"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from string import Formatter
from typing import Any

from llterm.core.display_text import label_text
from llterm.core.json_text import json_text
from llterm.errors import UsageError


@dataclass(frozen=True, slots=True)
class RowTemplate:
    """The text in pieces: what stands, and after it the column that follows, if any."""

    parts: Sequence[tuple[str, str | None]]

    @classmethod
    def parse(cls, text: str, name: str = "The template") -> RowTemplate:
        """Columns stand in braces; a brace of the text is written twice. Raises UsageError."""
        try:
            return cls(tuple(_parts(text)))
        except ValueError as error:
            raise UsageError(
                f"{name} cannot be read",
                f"{str(error)[:1].upper()}{str(error)[1:]}.",
                "A column is written {name}; a brace that is text is written twice: {{ or }}.",
            ) from error

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it wants, each once."""
        return tuple(dict.fromkeys(name for _, name in self.parts if name is not None))

    def check(self, columns: Sequence[str]) -> None:
        """Raise UsageError where a table with these columns lacks one."""
        for name in self.columns:
            if name not in columns:
                near = get_close_matches(name, columns, 1, 0.5)
                raise UsageError(
                    f"The rows have no column {label_text(name)}",
                    f"They have {', '.join(map(label_text, columns)) or 'none'}.",
                    f"Did you mean {label_text(near[0])}?" if near else "Change the template.",
                )

    def filled(self, columns: Mapping[str, Any]) -> str:
        """The text of a row; what is no text stands there as JSON. Every column must be there."""
        return "".join(
            text + ("" if name is None else _shown(columns[name])) for text, name in self.parts
        )


def _parts(text: str) -> Iterator[tuple[str, str | None]]:
    for literal, name, form, conversion in Formatter().parse(text):
        if name is not None and (form or conversion):
            raise ValueError(f"{{{name}}} says more than a column's name")
        if name == "":
            raise ValueError("an empty {} names no column")
        yield literal, name


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value, ascii=False)
