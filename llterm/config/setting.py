"""One key of a table in `llterm.toml`: what may stand there, and where a value came from."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

Kind = Literal[
    "whole number", "number", "yes or no", "text", "list of texts", "text or list of texts",
    "list of numbers", "path"
]  # fmt: skip
Value = int | float | bool | str | tuple[str, ...] | tuple[float, ...] | Path | None
MOST_STOPS = 100
_APART = re.compile("[,; ]+")
"""Between numbers of a list, as it is typed."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of a table."""

    name: str
    """As it stands in the file."""
    kind: Kind
    help: str
    low: float | None = None
    high: float | None = None
    above: bool = False
    """`low` itself is not allowed."""
    choices: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    """What may stand in place of a number."""
    default: Value = None
    field: str = ""
    """Name in the dataclass, where it differs."""
    blank: bool = False
    """A text of blanks alone, or none, is one too."""

    @property
    def attribute(self) -> str:
        return self.field or self.name

    @property
    def is_typed(self) -> bool:
        """Whether a flag for it takes a text that is to be read: typer knows no such values."""
        return bool(self.words) or self.kind == "list of numbers"

    @property
    def range(self) -> str:
        """The allowed values in words; empty when the type says it all."""
        words = "".join(f", or {word}" for word in self.words)
        if self.choices and self.kind != "list of texts":
            return ", ".join(self.choices[:-1]) + " or " + self.choices[-1]
        if self.low is None or self.high is None:
            return ""
        return f"{'above ' if self.above else ''}{self.low:,g} to {self.high:,.0f}{words}"

    def parse(self, text: str) -> Value:
        """The value from a flag or an environment variable. Raises ValueError with the reason."""
        if self.kind in ("list of texts", "text or list of texts"):
            return self.check(text.replace(",", " ").split() if self.choices else [text])
        value: object = text
        if self.kind == "list of numbers":
            value = [self._typed_number(part) for part in _APART.split(text.strip())]
        elif self.kind == "yes or no":
            words = {"1": True, "true": True, "yes": True, "on": True,
                     "0": False, "false": False, "no": False, "off": False}  # fmt: skip
            value = words.get(text.strip().lower(), text)
        elif self.kind in ("whole number", "number") and text not in self.words:
            value = self._typed_number(text)
        return self.check(value)

    def _typed_number(self, text: str) -> int | float:
        try:
            return int(text) if self.kind == "whole number" else float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a {self._unit}") from None

    @property
    def _unit(self) -> str:
        """What each number is, in words."""
        return "number" if self.kind == "list of numbers" else self.kind

    def check(self, value: object) -> Value:
        """The value, if it may stand here. Raises ValueError with the reason."""
        if self.kind == "yes or no":
            if isinstance(value, bool):
                return value
            raise ValueError(f"{_shown(value)} is neither true nor false")
        if self.kind == "text or list of texts" and isinstance(value, str):
            value = [value]
        if self.kind in ("list of texts", "text or list of texts"):
            return self._texts(value)
        if self.kind in ("text", "path"):
            if not isinstance(value, str):
                raise ValueError(f"{_shown(value)} is not a text in quotes")
            if not value.strip() and not self.blank:
                raise ValueError("it is empty")
            if "\0" in value:
                raise ValueError("a character with the number 0 is in no name")
            if self.choices and value not in self.choices:
                raise ValueError(f"{_shown(value)} is not one of {self.range}")
            return Path(value) if self.kind == "path" else value
        if self.kind == "list of numbers":
            return self._numbers(value)
        if isinstance(value, str) and value in self.words:
            return value
        return self._number(value)

    def _numbers(self, value: object) -> tuple[float, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{_shown(value)} is not a list of numbers")
        if len(value) > MOST_STOPS:
            raise ValueError(f"{len(value)} numbers are more than {MOST_STOPS}")
        return tuple(float(self._number(member)) for member in value)

    def _number(self, value: object) -> int | float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{_shown(value)} is not a {self._unit}")
        if self.kind == "whole number" and not isinstance(value, int):
            raise ValueError(f"{_shown(value)} is not a whole number")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
        low = self.low is not None and (value < self.low or (self.above and value == self.low))
        if low or (self.high is not None and value > self.high):
            raise ValueError(f"{_shown(value)} is not in {self.range}")
        return int(value) if self.kind == "whole number" else float(value)

    def _texts(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(
            isinstance(member, str) for member in value
        ):
            raise ValueError(f"{_shown(value)} is not a {self.kind} in quotes")
        texts = tuple(str(member) for member in value)
        if any("\ud800" <= member <= "\udfff" for text in texts for member in text):
            raise ValueError("it is not UTF-8 text")
        if "" in texts:
            raise ValueError("an empty text is found everywhere")
        for text in texts:
            if self.choices and text not in self.choices:
                near = get_close_matches(text, self.choices, 1, 0.5)
                raise ValueError(
                    f"{_shown(text)} is not one of {', '.join(self.choices)}"
                    + (f"; did you mean {near[0]}?" if near else "")
                )
        if self.choices and len(set(texts)) < len(texts):
            raise ValueError("it names one of them twice")
        if len(texts) > MOST_STOPS:
            raise ValueError(f"{len(texts)} texts are more than {MOST_STOPS}")
        return texts


def _shown(value: object) -> str:
    try:
        text = str(value).lower() if isinstance(value, bool) else str(value)
    except ValueError:
        return "a number of thousands of digits"
    text = text if len(text) <= 40 else text[:37] + "..."
    return f'"{text}"' if isinstance(value, str) else text


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a setting's value came from."""

    kind: Literal["flag", "environment", "file", "state", "default"]
    place: str | Callable[[], str] = ""
    """The flag, the variable, or what finds file and line when that is asked for."""

    @property
    def detail(self) -> str:
        """The flag, the variable, or file and line."""
        return self.place if isinstance(self.place, str) else self.place()

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.detail)))
