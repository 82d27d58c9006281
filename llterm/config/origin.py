"""Which source a value came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


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
