"""Keys and passwords never go from another program's file into a loom."""

from __future__ import annotations

import re
from typing import Any

_NAMES = re.compile(
    r"api[_-]?key|(api|access|auth|bearer|secret|client)[_-]?(token|secret|key)\b|password|passwd"
    r"|authorization|credential",
    re.IGNORECASE,
)


def without_secrets(value: Any) -> tuple[Any, int]:
    """A JSON value less every field whose name speaks of a key, and how many those were."""
    if isinstance(value, dict):
        found: dict[str, Any] = {}
        dropped = 0
        for name, one in value.items():
            if _NAMES.search(name):
                dropped += 1
                continue
            found[name], more = without_secrets(one)
            dropped += more
        return found, dropped
    if isinstance(value, list):
        pairs = [without_secrets(one) for one in value]
        return [one for one, _ in pairs], sum(more for _, more in pairs)
    return value, 0
