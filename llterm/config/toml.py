"""A TOML file as llterm reads all of its own: bounded in size and depth, every fault a few words.

The standard library's reader tells no line of a value. Where one is needed, the file is cut into
its statements once, and each is read by itself: the work grows with the file, not faster.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from llterm.regular_file import read_file

MOST_BYTES = 1 << 20
DEEPEST = 16
"""Tables and lists within each other; what llterm reads needs four."""

_AT = re.compile(r" \(at line (\d+), column \d+\)| \(at end of document\)")
# The standard reader takes time that grows with the square of a dotted key's parts.
_LONG_KEY = re.compile(
    rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{2 * DEEPEST}}}"""
)
_PART = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}(?!")'
    r"|'''.*?'{3,5}(?!')"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'[^'\n]*'"
    r"|#[^\n]*"
    r"|[\[\]{}\n]",
    re.DOTALL,
)
"""What can hold a line's end without ending the statement, or opens and closes such a thing."""

Keys = tuple[str, ...]


class NotToml(ValueError):
    """A file that cannot be read as TOML: what is wrong, where in it, what to do."""

    def __init__(self, title: str, where: str, hint: str) -> None:
        super().__init__(f"it {title}: {where}")
        self.title = title
        self.where = where
        self.hint = hint


class TomlFile:
    """What one file holds, and on which lines."""

    def __init__(self, path: Path) -> None:
        """Reads it. Raises OSError and NotToml."""
        raw = read_file(path, MOST_BYTES)
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            where = f"byte {error.start}"
            raise NotToml("is not UTF-8 text", where, "Save it as UTF-8.") from error
        self._text = text.removeprefix("\ufeff").replace("\r\n", "\n")
        self.data = self._parsed()

    def line(self, keys: Sequence[str]) -> int:
        """The line on which this key is set; 0 where that cannot be told."""
        return self._lines.get(tuple(keys[:DEEPEST]), 0)

    def _parsed(self) -> dict[str, Any]:
        if long := _LONG_KEY.search(self._text):
            raise self._too_deep(self._text.count("\n", 0, long.start()) + 1)
        try:
            data = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            at = _AT.search(str(error))
            line = at.group(1) if at and at.group(1) else self._text.count("\n") + 1
            raise _invalid(f"line {line}: {_AT.sub('', str(error))}") from error
        except RecursionError as error:
            raise self._too_deep(0) from error
        except ValueError as error:
            # A number of more digits than Python reads.
            raise _invalid(str(error).partition(";")[0]) from error
        if keys := _deep(data):
            raise self._too_deep(self.line(keys))
        return data

    def _too_deep(self, line: int) -> NotToml:
        where = f"line {line}: more than {DEEPEST}" if line else f"more than {DEEPEST}"
        hint = "Nothing in llterm's configuration needs that."
        return NotToml("is nested too deeply", f"{where} tables or lists within each other", hint)

    @cached_property
    def _lines(self) -> dict[Keys, int]:
        """Where each key, and each table, is first named."""
        lines: dict[Keys, int] = {}
        table: Keys = ()
        for line, statement in _statements(self._text):
            data = tomllib.loads(statement)
            header = statement.startswith("[")
            for keys in _paths(data):
                whole = keys if header else (*table, *keys)
                for size in range(1, min(len(whole), DEEPEST) + 1):
                    lines.setdefault(whole[:size], line)
                table = keys if header else table
        return lines


def _invalid(where: str) -> NotToml:
    return NotToml(
        "is not valid TOML",
        where,
        'Text needs quotes, each setting its own line: depth = 12, theme = "…".',
    )


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The tables' heads and the settings of a valid file, with the line that each begins on."""
    start, line, depth = 0, 1, 0
    for part in _PART.finditer(text + "\n"):
        what = part.group()
        depth += (what in "[{") - (what in "]}")
        if what != "\n" or depth:
            continue
        statement = text[start : part.start()]
        if (bare := statement.strip()) and not bare.startswith("#"):
            yield line, bare
        line += statement.count("\n") + 1
        start = part.end()


def _paths(data: Mapping[str, Any]) -> Iterator[Keys]:
    """The keys of every value, those of empty tables among them."""
    waiting: list[tuple[Keys, Any]] = [((), data)]
    while waiting:
        keys, value = waiting.pop()
        if isinstance(value, Mapping) and value:
            waiting += [((*keys, key), below) for key, below in value.items()]
        else:
            yield keys


def _deep(data: Mapping[str, Any]) -> Keys:
    """The keys of something too deep; empty where nothing is."""
    waiting: list[tuple[int, Keys, Any]] = [(0, (), data)]
    while waiting:
        depth, keys, value = waiting.pop()
        if depth > DEEPEST:
            return keys
        if isinstance(value, Mapping):
            waiting += [(depth + 1, (*keys, key), below) for key, below in value.items()]
        elif isinstance(value, list):
            waiting += [(depth + 1, keys, below) for below in value]
    return ()
