"""Configurations as no person writes them: they work, or a mistake is told by file, line, key."""

from __future__ import annotations

import random
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from llterm.cli.settings import show
from llterm.config import Config, load_config
from llterm.config.schema import FORMAT, MODEL, SERVER, TABLES
from llterm.errors import LltermError
from llterm.keymap import ACTIONS
from tests.helpers.full_config import RIVALS, everything
from tests.helpers.program import run
from tests.helpers.soak_rounds import rounds

pytestmark = pytest.mark.soak

WHOLE = everything()
ODD = (
    "[]", "{}", "{a = 1}", "[[[]]]", "inf", "nan", "-nan", "-1", "-0.0", "1e308", "5e-324",
    str(2**70), "0x" + "f" * 5000, "9" * 5000, "true", "1979-05-27", "07:32:00", '""', '" "',
    '"\\u0000"', '"\\u001b[2J\\u202e"', '["\\u001b]0;x\\u0007"]', '["a", 1]',
    "'" + "x" * 20_000 + "'", '"http://x"', '"../../etc/passwd"', "['a'" + ", 'a'" * 300 + "]",
    '"""\n\n"""', "[\n'a', # ]\n]",
)  # fmt: skip
"""Values that hardly any setting takes."""
TABLE = {"": "", **{name: f"[{name}]" for name in TABLES if name}}
PLACES = [
    *((TABLE[name], row.name) for name, rows in TABLES.items() for row in rows),
    *(("[models.NAME]", row.name) for row in MODEL if row.name not in RIVALS),
    *(("[formats.NAME]", row.name) for row in FORMAT),
    *(("[models.OTHER]", row.name) for row in SERVER if row.name not in RIVALS),
    *(("[keys]", f'"{action.id}"') for action in ACTIONS),
    ("[presets.NAME]", "temperature"),
    ("[presets.NAME]", "order"),
]
"""Every setting of every table that the file has, by its head and its name."""


def tried(folder: Path, data: bytes) -> str:
    """What is said of a file: "" where it is taken, and can be shown whole then."""
    path = folder / "llterm.toml"
    path.write_bytes(data)
    config = loaded(path)
    if isinstance(config, LltermError):
        said = str(config)
        assert config.exit_code == 2
        assert str(path) in config.cause, "the file is named"
        assert len(said) < 3000
        assert all(character.isprintable() or character == "\n" for character in said), (
            "what is said is inert"
        )
        return said
    shown = show(config, origin=True)
    tomllib.loads(shown)
    assert all(character.isprintable() or character == "\n" for character in shown)
    return ""


def loaded(path: Path) -> Config | LltermError:
    try:
        return load_config(file=path, environment={}, folder=path.parent)
    except LltermError as error:
        return error


def line_of(head: str, name: str) -> int:
    """The line of a setting in the whole file, from 0 on."""
    lines = WHOLE.splitlines()
    begin = lines.index(head) if head else 0
    return next(n for n in range(begin, len(lines)) if lines[n].startswith(f"{name} = "))


def test_the_whole_file_is_taken(tmp_path: Path) -> None:
    assert tried(tmp_path, WHOLE.encode()) == ""


@pytest.mark.parametrize(("head", "name"), PLACES)
def test_an_odd_value_is_taken_or_told_with_line_and_key(
    tmp_path: Path, head: str, name: str
) -> None:
    at = line_of(head, name)
    chance = random.Random(f"{head}{name}")
    for value in chance.sample(ODD, min(len(ODD), rounds(3))):
        lines = WHOLE.splitlines()
        lines[at] = f"{name} = {value}"
        said = tried(tmp_path, "\n".join(lines).encode())
        assert not said or re.search(rf"(line |:){at + 1}\b", said) or "digits" in said, said
        assert not said or name.strip('"') in said or "nested" in said or "digits" in said, said


def cut(text: str, chance: random.Random) -> bytes:
    """Some bytes gone."""
    data = text.encode()
    at = chance.randrange(len(data))
    return data[:at] + data[at + chance.choice((1, 2, 40, len(data))) :]


def dirt(text: str, chance: random.Random) -> bytes:
    """Some bytes others."""
    data = bytearray(text.encode())
    for _ in range(chance.choice((1, 3, 30))):
        data[chance.randrange(len(data))] = chance.choice(b"\0\x1b\x7f\xff\xc3\r\n\"'[]{}=#.,\\ 0a")
    return bytes(data)


def shuffled(text: str, chance: random.Random) -> bytes:
    """The lines in another order: settings under other tables."""
    lines = text.splitlines()
    begin = chance.randrange(len(lines))
    part = lines[begin : begin + 40]
    chance.shuffle(part)
    return "\n".join([*lines[:begin], *part, *lines[begin + 40 :]]).encode()


def doubled(text: str, chance: random.Random) -> bytes:
    """A part of it twice."""
    lines = text.splitlines()
    begin = chance.randrange(len(lines))
    part = lines[begin : begin + chance.choice((1, 5, 50))]
    return "\n".join([*lines[:begin], *part, *part, *lines[begin:]]).encode()


def renamed(text: str, chance: random.Random) -> bytes:
    """A name that is not known, not whole, or one of another place."""
    names = re.findall(r"(?m)^(?:\[[^\n]*\]|[a-z_]+(?= =))", text)
    one, other = chance.sample(names, 2)
    odd = chance.choice(
        (other, one[:-1], one + "x", f'"{one}\\u001b[2J"', "a.b.c.d", "[[x]]", "''")
    )
    return text.replace(f"\n{one}", f"\n{odd}", 1).encode()


MUTATIONS: tuple[Callable[[str, random.Random], bytes], ...] = (
    cut, dirt, shuffled, doubled, renamed,
)  # fmt: skip


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_a_broken_file_is_taken_or_told_with_its_line(
    tmp_path: Path, mutate: Callable[[str, random.Random], bytes]
) -> None:
    for number in range(rounds(120)):
        chance = random.Random(number)
        said = tried(tmp_path, mutate(WHOLE, chance))
        if said and mutate is renamed:
            assert re.search(r"line \d+|:\d+", said), said


@pytest.mark.parametrize("mutate", MUTATIONS)
def test_the_program_says_so_in_three_lines(
    tmp_path: Path, mutate: Callable[[str, random.Random], bytes]
) -> None:
    (tmp_path / "config").mkdir()
    for number in range(rounds(3)):
        (tmp_path / "config/llterm.toml").write_bytes(mutate(WHOLE, random.Random(number)))
        ran = run(tmp_path, "suggest", "-m", "scripted", "--prompt", "The cat", "--depth", "2")
        assert ran.code in (0, 2, 3, 4), ran.err
        assert not ran.faulty, ran.err
        assert all(one.isprintable() or one == "\n" for one in ran.out + ran.err)
