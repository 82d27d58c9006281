"""The one way in which llterm writes JSON: what leaves here, every reader of JSON takes."""

from __future__ import annotations

import json
import math
import re
from typing import Any

LONE = re.compile("[\ud800-\udfff]")
"""Half a character of UTF-16 alone, which no UTF-8 can hold."""
_MOST_BITS = 4096
"""Of a whole number: Python writes and reads no endless ones."""


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
