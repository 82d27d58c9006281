"""The one way in which llterm writes and reads JSON.

What leaves here, every reader of JSON takes. What files and servers say may be nested without end:
it is read to a depth that all bear.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

LONE = re.compile("[\ud800-\udfff]")
"""Half a character of UTF-16 alone, which no UTF-8 can hold."""
_MOST_BITS = 4096
"""Of a whole number: Python writes and reads no endless ones."""
DEEPEST = 64
"""Levels: llterm's own texts, and answers of servers, have some ten."""
_TOO_DEEP = "it is nested too deep"
_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_REST = re.compile(r"[^][{}]+")


def json_text(
    value: Any,
    *,
    indent: int | None = None,
    compact: bool = False,
    ascii: bool = True,
    sort: bool = False,
    bytes_kept: bool = False,
) -> str:
    """A value as JSON.

    Numbers that JSON has no word for are null, and half a character is `�`. With `bytes_kept` it
    stays, as Python reads bytes that are no text: for what llterm alone reads again.
    """
    separators = (",", ":") if compact else None

    def text(part: Any) -> str:
        return json.dumps(
            part, indent=indent, separators=separators, ensure_ascii=ascii, sort_keys=sort,
            allow_nan=False,
        )  # fmt: skip

    try:
        written = text(value)
    except ValueError:
        return text(_sayable(value, bytes_kept))
    halves = not bytes_kept and ("\\ud" in written if ascii else LONE.search(written) is not None)
    return text(_sayable(value, bytes_kept)) if halves else written


def _sayable(value: Any, bytes_kept: bool) -> Any:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case int():
            return value if value.bit_length() <= _MOST_BITS else None
        case str():
            return value if bytes_kept else LONE.sub("�", value)
        case dict():
            return {_sayable(name, bytes_kept): _sayable(member, bytes_kept)
                    for name, member in value.items()}  # fmt: skip
        case list() | tuple():
            return [_sayable(member, bytes_kept) for member in value]
    return value


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


def text_value(data: bytes) -> str:
    """Bytes as JSON can say them; what is no text is `�`, and the bytes stand beside it."""
    return data.decode("utf-8", "replace")


def text_fields(data: bytes) -> dict[str, Any]:
    """A text and its exact bytes."""
    return {"text": text_value(data), "bytes": list(data)}
