"""Fields of another program's file that a loom has no place for: what of them is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from llterm.formats.json_place import UnusableNumber

DEEPEST = 32
"""Levels of lists and objects: no program's settings have so many."""
_NAMES = re.compile(
    r"api[_-]?key|(api|access|auth|bearer|secret|client)[_-]?(token|secret|key)\b|password|passwd"
    r"|authorization|credential",
    re.IGNORECASE,
)


@dataclass(slots=True)
class OmittedFields:
    """How much was not kept."""

    secrets: int = 0
    """Keys and passwords: they never go from another program's file into a loom."""
    odd: int = 0
    """Numbers that are none, and what is nested too deep."""

    def notes(self) -> list[str]:
        """In words for the person."""
        sentences = []
        if self.secrets:
            sentences.append(f"Keys or passwords were left out: {self.secrets:,}.")
        if self.odd:
            sentences.append(
                f"Of unknown fields, values that no loom can hold were left out: {self.odd:,}."
            )
        return sentences


def kept(value: Any, left: OmittedFields, level: int = 0) -> Any:
    """A JSON value less every field whose name speaks of a key; what cannot be kept is null."""
    if isinstance(value, UnusableNumber) or (level > DEEPEST and isinstance(value, dict | list)):
        left.odd += 1
        return None
    if isinstance(value, dict):
        secret = {name for name in value if _NAMES.search(name)}
        left.secrets += len(secret)
        return {
            name: kept(member, left, level + 1)
            for name, member in value.items()
            if name not in secret
        }
    if isinstance(value, list):
        return [kept(member, left, level + 1) for member in value]
    return value
