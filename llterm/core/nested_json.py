"""JSON of files and servers, which may be nested without end: read to a depth that all bear."""

from __future__ import annotations

import json
import re
from typing import Any

DEEPEST = 64
"""Levels: llterm's own texts, and answers of servers, have some ten."""
_TOO_DEEP = "it is nested too deep"
_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_REST = re.compile(r"[^][{}]+")


def parsed(text: str, **how: Any) -> Any:
    """What a JSON text holds, read as `json.loads` is told to. Raises ValueError where it is none,
    or is nested too deep."""
    try:
        value = json.loads(text, **how)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    if text.count("[") + text.count("{") > DEEPEST and _too_deep(text):
        raise ValueError(_TOO_DEEP)
    return value


def _too_deep(text: str) -> bool:
    """Whether brackets of sound JSON are left after the innermost were taken out so many times."""
    brackets = _REST.sub("", _TEXTS.sub("", text))
    for _ in range(DEEPEST):
        shorter = brackets.replace("[]", "").replace("{}", "")
        if shorter == brackets:
            break
        brackets = shorter
    return bool(brackets)
