"""A server's JSON, read strictly: finite numbers only, and every mistake told with its place.

    Part(reply.data)["choices"][0]["text"].text()

raises BadAnswer with "choices[0].text is a number, not a text" where that is so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, NoReturn

from llterm.backends.remote.transport import BadAnswer
from llterm.core.display_text import label_text
from llterm.core.json_text import LONE, parsed

HINT = "See that it is a model's server, and what its own log says."
LARGEST = 2**31 - 1
"""Of whole numbers: ids, counts and places are far below."""
DIGITS = 40
"""Of a whole number that is not looked at."""
MOST_BYTES = 1 << 16
"""Of one token."""
_KINDS: dict[type, str] = {
    dict: "an object", list: "a list", str: "a text", int: "a whole number", float: "a number",
    bool: "true or false", type(None): "null",
}  # fmt: skip


def parse(data: bytes) -> Any:
    """The JSON in these bytes.

    Raises BadAnswer for half an answer, for what is not JSON or not UTF-8, and for numbers that are
    not finite (NaN, Infinity, 1e999).
    """
    try:
        return parsed(
            data.decode("utf-8"), parse_float=_finite, parse_constant=_finite, parse_int=_short
        )
    except UnicodeDecodeError as error:
        raise unreadable(f"byte {error.start:,} is not UTF-8") from None
    except json.JSONDecodeError as error:
        if error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated"):
            raise unreadable(f"it breaks off after {len(data):,} bytes") from None
        shown = label_text(error.doc[error.pos : error.pos + 40])
        raise unreadable(f"at character {error.pos + 1:,} stands {shown}") from None
    except _NotFinite as error:
        raise unreadable(f"{_where(data)} is {error}, not a finite number") from None
    except ValueError:
        raise unreadable("it holds a number too long, or lists too deep") from None


class AnswerValue:
    """A value inside an answer, which knows where it stands."""

    __slots__ = ("place", "value")

    def __init__(self, value: Any, place: str = "") -> None:
        self.value = value
        self.place = place

    def __getitem__(self, key: str | int) -> AnswerValue:
        """What stands under this name, or at this index. Raises BadAnswer where nothing does."""
        if isinstance(key, int):
            if not isinstance(self.value, list):
                self._wrong("a list")
            if not -len(self.value) <= key < len(self.value):
                raise unreadable(f"{self.name} has {len(self.value)} entries, no {key}")
            return AnswerValue(self.value[key], f"{self.place}[{key}]")
        if not isinstance(self.value, dict):
            self._wrong("an object")
        if key not in self.value:
            raise unreadable(f"{self.name} has no {key}")
        return self._named(key)

    def get(self, key: str) -> AnswerValue | None:
        """What stands under this name, or None where that is nothing or null."""
        if not isinstance(self.value, dict):
            self._wrong("an object")
        return None if self.value.get(key) is None else self._named(key)

    def items(self) -> Iterator[AnswerValue]:
        """The entries of a list."""
        if not isinstance(self.value, list):
            self._wrong("a list")
        for index, one in enumerate(self.value):
            yield AnswerValue(one, f"{self.place}[{index}]")

    def object(self) -> dict[str, Any]:
        """The names of an object and what stands under them."""
        if not isinstance(self.value, dict):
            self._wrong("an object")
        return dict(self.value)

    def number(self) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self._wrong("a number")
        try:
            return float(self.value)
        except OverflowError:
            raise unreadable(f"{self.name} is too large a number") from None

    def whole(self, least: int = 0, most: int = LARGEST) -> int:
        """A whole number in this range. Raises BadAnswer for every other."""
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            self._wrong("a whole number")
        if not least <= self.value <= most:
            raise unreadable(f"{self.name} is {self.value:,}, not {least:,} to {most:,}")
        return int(self.value)

    def truth(self) -> bool:
        if not isinstance(self.value, bool):
            self._wrong("true or false")
        return self.value

    def exact(self) -> bytes:
        """A list of numbers that are bytes. Raises BadAnswer for everything else."""
        listed = self.value
        if not isinstance(listed, list) or len(listed) > MOST_BYTES:
            self._wrong("a short list of bytes")
        if not all(type(one) is int and 0 <= one < 256 for one in listed):
            raise unreadable(f"{self.name} is no list of bytes")
        return bytes(listed)

    def text(self) -> str:
        """Half a surrogate pair, which no UTF-8 can hold, becomes U+FFFD."""
        if not isinstance(self.value, str):
            self._wrong("a text")
        return LONE.sub("\ufffd", self.value)

    @property
    def name(self) -> str:
        """Its place, in words."""
        return self.place or "the answer"

    def _named(self, key: str) -> AnswerValue:
        return AnswerValue(self.value[key], f"{self.place}.{key}" if self.place else key)

    def _wrong(self, wanted: str) -> NoReturn:
        found = _KINDS.get(type(self.value), "something else")
        raise unreadable(f"{self.name} is {found}, not {wanted}")


class _NotFinite(Exception):
    pass


def _short(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError("too long")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _NotFinite(text)
    return number


def _where(data: bytes) -> str:
    """The place of the first number that is not finite, found by reading everything again."""
    try:
        return next(_not_finite(json.loads(data), ""), "") or "it"
    except RecursionError:
        return "a number"


def _not_finite(data: Any, at: str) -> Iterator[str]:
    """Where numbers that are not finite stand."""
    if isinstance(data, float) and not math.isfinite(data):
        yield at
    elif isinstance(data, dict):
        for key, entry in data.items():
            yield from _not_finite(entry, f"{at}.{key}" if at else label_text(key))
    elif isinstance(data, list):
        for index, entry in enumerate(data):
            yield from _not_finite(entry, f"{at}[{index}]")


def unreadable(why: str) -> BadAnswer:
    """An answer in which this is wrong."""
    shown = label_text(why)
    return BadAnswer("The server's answer cannot be read", f"{shown}.", HINT)
