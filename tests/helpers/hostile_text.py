"""What a stranger's file may hold to reach the person's terminal, and how to find it there."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

TEXT = (
    "Owned\x1b]52;c;cHduZWQ=\x07 \x1b]0;title\x1b\\ \x1b[1337m \x1bPq\x1b\\ \x9b31m \x90q\x9c"
    " \u202eevil\u202c [red]x[/red] \x08\x7f\x0c\x0e"
)
"""One line. Clipboard, window title, colours, device control, 8-bit controls, text backwards."""
TEXTS = frozenset(
    [
        "text",
        "content",
        "summary",
        "title",
        "description",
        "name",
        "user_input",
        "story",
        "tags",
        "prompt",
        "tok_str",
        "modelName",
        "authorName",
        "author",
        "model",
    ]
)
_OURS = re.compile(
    rb"\x1b\[[<>=?]?[0-9;:]*(?:\$p|[a-zA-Z])"  # the app's own screen, colours and modes
    rb"|\x1b\]22;[a-z-]*\x07|\x1b\(B|\r|\n"  # the pointer's shape, plain letters, lines
)
_CONTROL = re.compile(
    rb"[\x00-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\x8e\x8f\xa8-\xae]|\xe2\x81[\xa6-\xa9]"
)


def controls(output: bytes) -> list[bytes]:
    """Every control that is none of the app's own, with what stands around it."""
    left = _OURS.sub(b"", output)
    found = [left[max(one.start() - 20, 0) : one.end() + 20] for one in _CONTROL.finditer(left)]
    return [*found, *re.findall(rb"\x1b\[1337m", output)]


def poisoned(shape: Any, name: str = "") -> Any:
    """A file of another program's with this in each of its texts; what it is made of stays."""
    if isinstance(shape, Mapping):
        return {key: poisoned(value, key) for key, value in shape.items()}
    if isinstance(shape, list):
        return [poisoned(one, name) for one in shape]
    if not isinstance(shape, str):
        return shape
    if shape[:1] in ('"', "[", "{"):
        # mikupad has its values as texts of JSON.
        return json.dumps(poisoned(json.loads(shape), name))
    return shape + TEXT if name in TEXTS else shape
