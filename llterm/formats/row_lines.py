"""Lines of a file that is read again and again, a line at a time: requests, and rows of tables."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any, BinaryIO

from llterm.core.json_text import parsed
from llterm.errors import UsageError
from llterm.regular_file import MARK

MOST_BYTES = 64 << 20
"""Of a line."""
_CHUNK = 1 << 20


class RowFile:
    """A file of UTF-8 that can be read from any place; `name` is for people."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file = file
        self.name = name

    def digest(self) -> str:
        """SHA-256 of its bytes, in hexadecimal."""
        digest = hashlib.sha256()
        self.file.seek(0)
        while part := self.file.read(_CHUNK):
            digest.update(part)
        return digest.hexdigest()

    def lines(self, start: int = 0) -> Iterator[tuple[int, str]]:
        """The lines from a place on, each with where it begins; without an editor's mark of UTF-8.

        Raises UsageError for one that is too long or no text.
        """
        while True:
            self.file.seek(start)
            data = self.file.readline(MOST_BYTES + 1)
            if not data:
                return
            yield start, self._text(data.removeprefix(MARK) if not start else data)
            start += len(data)

    def line(self, start: int) -> str:
        """The line that begins at a place."""
        return next(self.lines(start))[1]

    def wrong(self, number: int, cause: str, hint: str) -> UsageError:
        """Of the line with this number, from 1."""
        return UsageError(f"Line {number:,} of {self.name} cannot be taken", cause, hint)

    def _text(self, data: bytes) -> str:
        if len(data) > MOST_BYTES:
            raise UsageError(
                f"A line of {self.name} is too long", f"{MOST_BYTES:,} bytes are the most.",
                "Is this the right file?",
            )  # fmt: skip
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            raise UsageError(f"{self.name} is no text", "", "Save it as UTF-8.")
        return text


def json_object(text: str) -> dict[str, Any]:
    """An object of JSON, of finite numbers. Raises ValueError saying why it is none."""
    # In a list: what holds it later, a result, must not be nested too deep to be read.
    (value,) = parsed(f"[{text}\n]", parse_constant=_refuse, parse_float=_finite) or [None]
    if not isinstance(value, dict):
        raise ValueError("it is no object")
    return value


def _refuse(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON's")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:20]} is too large")
    return value
