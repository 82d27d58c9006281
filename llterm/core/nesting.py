"""JSON out of files that may be damaged: read without an end to its depth."""

from __future__ import annotations

import json
import re
from typing import Any

DEEPEST = 64
"""Levels: llterm's own texts have less than ten."""
_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_REST = re.compile(r"[^][{}]+")


def parsed(text: str) -> Any:
    """What a JSON text holds. Raises ValueError where it is none, or is nested too deep."""
    if text.count("[") + text.count("{") > DEEPEST and _too_deep(text):
        raise ValueError("it is nested too deep")
    return json.loads(text)


def _too_deep(text: str) -> bool:
    """Whether brackets are left after the innermost were taken out so many times."""
    brackets = _REST.sub("", _TEXTS.sub("", text))
    for _ in range(DEEPEST):
        shorter = brackets.replace("[]", "").replace("{}", "")
        if shorter == brackets:
            break
        brackets = shorter
    return bool(brackets)
