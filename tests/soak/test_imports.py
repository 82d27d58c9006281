"""Files that are broken in every way: an import refuses them, or makes a loom that works."""

from __future__ import annotations

import copy
import json
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import pytest

from llterm.formats.file_formats import IMPORTS
from tests.helpers import foreign_files
from tests.helpers.hostile_imports import VALUES, filled, holds, hole, leaves, put, sample, tried
from tests.helpers.soak_rounds import rounds

LONGEST = 60
"""Seconds in which the smallest file must be through: more is a hang."""
_TEXTS = ("\\ud83d", "NaN", "\x00", "\ufeff", "\xff", '"', "}", "[", ",", "1e999", "-", "\\")
_AGAIN = 2


@pytest.mark.soak
def test_no_mutated_file_ends_an_import_an_export_or_a_map() -> None:
    chance = random.Random(1)
    counts: Counter[str] = Counter()
    for number in range(rounds(2200)):
        format = IMPORTS[number % len(IMPORTS)]
        data = mutated(format, chance)
        with TemporaryDirectory() as folder, no_longer_than(LONGEST, data):
            made = tried(data, chance.choice((None, format)), Path(folder))
            assert made is not None or list(Path(folder).iterdir()) == [], data
            counts[f"{format} {'made' if made else 'refused'}"] += 1
            if made is not None:
                try:
                    holds(made, pictures=number % 50 == 0)
                except Exception as error:
                    error.add_note(f"made of {data!r}")
                    raise
    for format in IMPORTS:
        assert counts[f"{format} made"] > 0, counts


def mutated(format: str, chance: random.Random) -> bytes:
    """A sample with one to three things wrong in it."""
    kinds: list[Callable[[Any, random.Random], bytes]] = [_value, _structure, _bytes]
    if format == "mikupad" and chance.random() < 0.5:
        return _bytes(foreign_files.MIKUPAD, chance)
    shape = json.loads(sample(format))
    if not isinstance(shape, dict | list):
        return _bytes(shape, chance)
    return chance.choice(kinds)(shape, chance)


def _value(shape: Any, chance: random.Random) -> bytes:
    """Another value in some places."""
    top = {"file": shape}
    for way in chance.sample(list(leaves(top)), k=chance.randint(1, _AGAIN)):
        put(top, way, hole(chance.choice(VALUES)))
    return filled(top["file"])


def _structure(shape: Any, chance: random.Random) -> bytes:
    """Parts left out, doubled, renamed, or put where another part was."""
    top = {"file": shape}
    for _ in range(chance.randint(1, _AGAIN)):
        inside = [first for first in _containers(top["file"]) if first]
        if not inside:
            break
        first, other = chance.choice(inside), chance.choice(inside)
        at = chance.choice(list(first) if isinstance(first, dict) else range(len(first)))
        match chance.randrange(4):
            case 0:
                del first[at]
            case 1 if isinstance(first, list):
                first.append(copy.deepcopy(first[at]))
            case 2 if isinstance(first, dict):
                first[chance.choice(("", "id", "text", "children", "\x00", "__proto__"))] = first[
                    at
                ]
            case _:
                first[at] = copy.deepcopy(other)
    return json.dumps(top["file"]).encode()


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        yield value
        for one in value.values() if isinstance(value, dict) else value:
            yield from _containers(one)


def _bytes(shape: Any, chance: random.Random) -> bytes:
    """Bytes changed, lost, doubled or put between."""
    data = bytearray(json.dumps(shape).encode())
    for _ in range(chance.randint(1, _AGAIN)):
        at = chance.randrange(len(data) + 1)
        until = at + chance.randint(0, 30)
        match chance.randrange(5):
            case 0:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[at:until]
            case 2:
                data[at:at] = data[at:until]
            case 3:
                data[at:at] = chance.choice(_TEXTS).encode("utf-8")
            case _:
                data[at:at] = data[: chance.randrange(len(data) + 1)]
    return bytes(data)


@contextmanager
def no_longer_than(seconds: int, data: bytes) -> Iterator[None]:
    """Fail where the block hangs."""

    def end(_: int, __: FrameType | None) -> None:
        raise AssertionError(f"this hangs: {data!r}")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
