"""Reads other programs' JSON, strictly: what is wrong is told with its place."""

from __future__ import annotations

import json
import math
import re
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast

from llterm.core.display_text import label_text
from llterm.core.pieces import logprob_of, moment_of
from llterm.errors import UsageError

Result = TypeVar("Result")
DEEPEST = 100_000
"""Levels that may be nested: a story of one node a token is as deep as it is long."""
MOST_WHOLE = 1 << 30
"""Ids, sizes and places beyond are none: looms keep them in 32 bits."""
MILLISECOND = 0.001
"""In seconds."""
_STACK = 256 << 20
_SHOWN = 40
_MOST_DIGITS = 40
"""Of a whole number: some programs' ids are that long."""
_ESCAPES = re.compile(
    r"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    r"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_HALVES = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class UnusableNumber:
    """A number of the file that is none for us: not finite, or of hundreds of digits."""

    text: str

    def __repr__(self) -> str:
        return self.text if len(self.text) <= _SHOWN else f"a number of {len(self.text):,} digits"


def wrong(cause: str, hint: str = "") -> UsageError:
    """What cannot be imported, and where that is."""
    return UsageError(
        "This file cannot be imported",
        cause,
        hint or "Export it anew. With --from text it is taken as a plain text.",
    )


@dataclass(frozen=True, slots=True)
class JsonPlace:
    """A value of the file, and how to get to it."""

    value: Any
    step: str | int = ""
    """From the one above, or from the top, to here: a name, or a place in a list."""
    above: JsonPlace | None = None

    @property
    def path(self) -> str:
        """The way from the top. Put together when it is told: deep trees have long ones."""
        steps: list[str | int] = []
        at: JsonPlace | None = self
        while at is not None:
            steps.append(at.step)
            at = at.above
        return "".join(map(_shown, reversed(steps))).removeprefix(".")

    def instead(self, value: Any) -> JsonPlace:
        """Another value in the same place."""
        return JsonPlace(value, self.step, self.above)

    def field(self, name: str) -> JsonPlace:
        """A field that must be there."""
        field = self.optional(name)
        if field is None:
            raise wrong(f"{self.path or 'the file'} has no {name}.")
        return field

    def optional(self, name: str) -> JsonPlace | None:
        """A field; None where it is missing or null."""
        value = self.mapping().get(name)
        return None if value is None else JsonPlace(value, name, self)

    def inner(self, name: str) -> JsonPlace:
        """A field that is an object; an empty one where it is missing."""
        return self.optional(name) or self.instead({})

    def mapping(self) -> dict[str, Any]:
        return cast(dict[str, Any], self._as(dict, "an object"))

    def text(self) -> str:
        return str(self._as(str, "a text"))

    def number(self) -> float:
        """A finite number."""
        if isinstance(self.value, bool):
            raise self.bad("a number")
        return float(self._as((int, float), "a number"))

    def whole(self, least: int = 0, most: int = MOST_WHOLE) -> int:
        """A whole number of this range."""
        number = self.value
        if type(number) is float and number.is_integer():
            number = int(number)
        if type(number) is not int or not least <= number <= most:
            raise self.bad(f"a whole number from {least:,} to {most:,}")
        return number

    def logprob(self) -> float:
        """A natural log of a probability."""
        logprob = logprob_of(self.number())
        if logprob is None:
            raise self.bad("the log of a probability, which is at most 0")
        return logprob

    def moment(self, unit: float = 1.0) -> float:
        """Seconds since 1970, of a number of so many seconds each or of an ISO date.

        0 where it is neither; an error where it is a number that no calendar has.
        """
        if isinstance(self.value, int | float | UnusableNumber) and not isinstance(
            self.value, bool
        ):
            seconds = moment_of(self.number() * unit)
            if seconds is None:
                raise self.bad("a time that calendars have")
            return seconds
        return moment_of(_told(str(self.value))) or 0.0 if isinstance(self.value, str) else 0.0

    def when(self, name: str, unit: float = MILLISECOND) -> float:
        """When a field says something was; 0 where it is missing."""
        found = self.optional(name)
        return 0.0 if found is None else found.moment(unit)

    def items(self) -> Iterator[JsonPlace]:
        """The members of a list."""
        for index, value in enumerate(self._as(list, "a list")):
            yield JsonPlace(value, index, self)

    def items_of(self, name: str) -> Iterator[JsonPlace]:
        """The members of a field that is a list; none where it is missing."""
        listed = self.optional(name)
        return iter(()) if listed is None else listed.items()

    def entries(self) -> Iterator[tuple[str, JsonPlace]]:
        """The members of an object by name."""
        for name, value in self.mapping().items():
            yield name, JsonPlace(value, name, self)

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
        shown = label_text(_quoted(self.value))
        return wrong(f"{self.path or 'the file'} is {shown}, not {expected}.")

    def _as(self, kind: Any, expected: str) -> Any:
        if not isinstance(self.value, kind):
            raise self.bad(expected)
        return self.value


def parse(data: bytes) -> JsonPlace:
    """The file's JSON. Raises UsageError with line and column where it is none."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise wrong(f"Byte {error.start:,} is not UTF-8.") from error
    return JsonPlace(parsed(text))


def parsed(text: str, name: str = "") -> Any:
    """What JSON says, `name` in an error's words. Raises UsageError with line and column.

    Half a character of UTF-16 is `�`; a number that is no finite one is `UnusableNumber`, and an
    error where it is read.
    """
    inside = f"{name} is no JSON: " if name else ""
    if _HALVES.search(text):
        text = _ESCAPES.sub(_mended, text)

    def load() -> Any:
        return json.loads(
            text, parse_int=_whole, parse_float=_finite, parse_constant=UnusableNumber
        )

    try:
        try:
            return load()
        except RecursionError:
            return deep(load)
    except json.JSONDecodeError as error:
        raise wrong(f"{inside}Line {error.lineno}, column {error.colno}: {error.msg}.") from error
    except RecursionError as error:
        raise wrong(f"{inside}It is nested deeper than can be read.") from error


def _mended(found: re.Match[str]) -> str:
    return "\\ufffd" if found[2] else found[0]


def _whole(text: str) -> int | UnusableNumber:
    return int(text) if len(text) <= _MOST_DIGITS else UnusableNumber(text)


def _finite(text: str) -> float | UnusableNumber:
    found = float(text)
    return found if math.isfinite(found) else UnusableNumber(text)


def deep(work: Callable[[], Result]) -> Result:
    """Run something that calls itself once a level, with room for `DEEPEST` levels."""
    limit, stack = sys.getrecursionlimit(), threading.stack_size(_STACK)
    sys.setrecursionlimit(DEEPEST)
    try:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(work).result()
    finally:
        sys.setrecursionlimit(limit)
        threading.stack_size(stack)


def _told(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _quoted(value: Any) -> str:
    """A value's beginning, however much there is of it."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return repr(value[:_SHOWN] if isinstance(value, str) else value)[:_SHOWN]


def _shown(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{label_text(step[:_SHOWN])}" if step else ""
