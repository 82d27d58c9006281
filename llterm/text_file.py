"""What a person's text file holds, whatever program saved it."""

from __future__ import annotations

from llterm.errors import UsageError

MARK = b"\xef\xbb\xbf"
"""What some editors put before UTF-8. It is no part of the text."""


def text_of(data: bytes, name: str) -> bytes:
    """The text itself. Raises UsageError where it is none, or not in UTF-8."""
    if data.startswith(b"GGUF"):
        raise UsageError(f"{name} is a model, not a text", "", "Give it with -m (--model).")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UsageError(f"{name} is UTF-16 text", "", "Save it as UTF-8.")
    if b"\0" in data:
        raise UsageError(
            f"{name} is not a text",
            f"It has a zero byte at position {data.index(0):,}.",
            "llterm reads UTF-8 text and .loom files.",
        )
    return data.removeprefix(MARK)
