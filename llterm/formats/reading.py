"""Reads other programs' JSON: what is wrong is told with its place."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

from llterm.core.display import visible
from llterm.errors import UsageError

Result = TypeVar("Result")
DEEPEST = 100_000
"""Levels that may be nested: a story of one node a token is as deep as it is long."""
_STACK = 256 << 20
_SHOWN = 40


def wrong(cause: str, hint: str = "") -> UsageError:
    """What cannot be imported, and where that is."""
    return UsageError(
        "This file cannot be imported",
        cause,
        hint or "Export it anew. With --from text it is taken as a plain text.",
    )


@dataclass(frozen=True, slots=True)
class Place:
    """A value of the file, and how to get to it."""

    value: Any
    path: str = ""

    def field(self, name: str) -> Place:
        """A field that must be there."""
        found = self.optional(name)
        if found is None:
            raise wrong(f"{self.path or 'the file'} has no {name}.")
        return found

    def optional(self, name: str) -> Place | None:
        """A field; None where it is missing or null."""
        value = self.mapping().get(name)
        return None if value is None else Place(value, _join(self.path, name))

    def mapping(self) -> dict[str, Any]:
        return cast(dict[str, Any], self._as(dict, "an object"))

    def text(self) -> str:
        return str(self._as(str, "a text"))

    def number(self) -> float:
        if isinstance(self.value, bool):
            raise self.bad("a number")
        return float(self._as((int, float), "a number"))

    def items(self) -> Iterator[Place]:
        """The members of a list."""
        for index, value in enumerate(self._as(list, "a list")):
            yield Place(value, f"{self.path}[{index}]")

    def entries(self) -> Iterator[tuple[str, Place]]:
        """The members of an object by name."""
        for name, value in self.mapping().items():
            yield name, Place(value, _join(self.path, name))

    def text_of(self, name: str, default: str = "") -> str:
        found = self.optional(name)
        return default if found is None else found.text()

    def key_of(self, name: str) -> str | None:
        """A field that is a text or a whole number, as a text; None where it is missing."""
        found = self.optional(name)
        return None if found is None else found.key()

    def key(self) -> str:
        if isinstance(self.value, bool) or not isinstance(self.value, str | int):
            raise self.bad("a text or a whole number")
        return str(self.value)

    def flag_of(self, name: str) -> bool:
        found = self.optional(name)
        return found is not None and bool(found.value)

    def bad(self, expected: str) -> UsageError:
        shown = visible(repr(self.value)[:_SHOWN].encode("utf-8", "replace"))
        return wrong(f"{self.path or 'the file'} is {shown}, not {expected}.")

    def _as(self, kind: Any, expected: str) -> Any:
        if not isinstance(self.value, kind):
            raise self.bad(expected)
        return self.value


def parse(data: bytes) -> Place:
    """The file's JSON. Raises UsageError with line and column where it is none."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise wrong(f"Byte {error.start:,} is not UTF-8.") from error
    try:
        return Place(deep(lambda: json.loads(text)))
    except json.JSONDecodeError as error:
        raise wrong(f"Line {error.lineno}, column {error.colno}: {error.msg}.") from error
    except RecursionError as error:
        raise wrong("It is nested deeper than can be read.") from error


def deep(work: Callable[[], Result]) -> Result:
    """Run something that calls itself once a level, with room for `DEEPEST` levels."""
    found: list[Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(work())
        except (ValueError, RecursionError, UsageError) as error:
            failed.append(error)

    limit, stack = sys.getrecursionlimit(), threading.stack_size(_STACK)
    sys.setrecursionlimit(DEEPEST)
    try:
        thread = threading.Thread(target=run)
        thread.start()
        thread.join()
    finally:
        sys.setrecursionlimit(limit)
        threading.stack_size(stack)
    if failed:
        raise failed[0]
    return found[0]


def moment(value: object) -> float:
    """Seconds since 1970 of an ISO date, or of a number of milliseconds; 0 where it is neither."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) / 1000
    try:
        return datetime.fromisoformat(str(value)).timestamp()
    except (ValueError, OverflowError, OSError):
        return 0.0


def _join(path: str, name: str) -> str:
    shown = visible(name.encode("utf-8", "replace"))
    return f"{path}.{shown}" if path else shown
