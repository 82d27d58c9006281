"""A configuration of any size and shape: read once, in a time that grows with it, or refused."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llterm.config import load_config
from llterm.config.toml import MOST_BYTES, TomlFile
from llterm.config.value_reader import ConfigFile
from llterm.errors import ConfigError
from tests.helpers.full_config import everything


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many characters the TOML reader was given, call by call."""
    counted: list[int] = []
    loads = tomllib.loads

    def counting(text: str, **more: Any) -> dict[str, Any]:
        counted.append(len(text))
        return loads(text, **more)

    monkeypatch.setattr(tomllib, "loads", counting)
    return counted


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "llterm.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return path


def test_all_settings_are_read_at_one_go(tmp_path: Path, read_bytes: list[int]) -> None:
    path = written(tmp_path, everything())
    config = load_config(file=path, environment={}, folder=tmp_path)
    assert len(config.origins) > 200
    assert read_bytes == [len(everything())], "no line was asked for"
    places = [origin.detail for origin in config.origins.values()]
    assert len({*places}) == len(places)
    assert all(place.startswith(f"{path}:") for place in places)
    assert sum(read_bytes) < 3 * len(everything()), "all lines are found in one more reading"


@pytest.mark.parametrize("count", [500, 5000])
def test_a_mistake_at_the_end_costs_no_more_than_the_file_is_long(
    tmp_path: Path, read_bytes: list[int], count: int
) -> None:
    lines = [f"[models.m{number}]\npath = 'a'\n" for number in range(count)]
    text = "".join(lines) + "pathh = 'b'\n"
    with pytest.raises(ConfigError, match=f"m{count - 1}") as caught:
        ConfigFile(written(tmp_path, text))
    assert f"line {2 * count + 1}." in caught.value.cause
    assert sum(read_bytes) <= 3 * len(text)


VALUES = st.recursive(
    st.one_of(
        st.integers(-9, 9), st.booleans(), st.text(max_size=8), st.just("a\n[b]\n'''\n\"\"\"#")
    ),
    lambda below: st.lists(below, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from("abc"), VALUES, st.booleans()), max_size=8))
def test_the_line_is_where_the_key_stands(
    tmp_path_factory: pytest.TempPathFactory, items: list[tuple[str, object, bool]]
) -> None:
    """Whatever values stand between: texts and lists of several lines, comments, tables."""
    lines, wanted, table = ["# [x]\n"], {}, ""
    for number, (key, value, opens) in enumerate(items):
        if opens:
            table = f"t{number}"
            lines.append(f"\n[{table}] # {{\n")
        name = f"{key}{number}"
        wanted[(*filter(None, (table,)), name)] = "".join(lines).count("\n") + 1
        lines.append(f"{name} = {shown(value)} # it's [\n")
    path = written(tmp_path_factory.mktemp("toml"), "".join(lines))
    found = TomlFile(path)
    assert {keys: found.line(keys) for keys in wanted} == wanted


def shown(value: object) -> str:
    """As TOML, over several lines where that can be."""
    if isinstance(value, list):
        return "[ # ]\n" + "".join(f"{shown(one)}, # '\n" for one in value) + "]"
    if isinstance(value, str):
        safe = "".join(c if c.isprintable() or c == "\n" else f"\\U{ord(c):08x}" for c in
                       value.replace("\\", "\\\\").replace('"', '\\"')
                       if not "\ud800" <= c <= "\udfff")  # fmt: skip
        return f'"""{safe}"""'
    return str(value).lower()


ABSURD: dict[str, tuple[str | bytes, str]] = {
    "100,000 keys in a table": (
        "[weave]\n" + "".join(f"k{n}=1\n" for n in range(100_000)), "Unknown key k0"),
    "lists within lists": ("a = " + "[" * 100_000, "nested too deeply"),
    "just too many lists": ("a = " + "[" * 20 + "]" * 20, "nested too deeply"),
    "tables within tables": ("a = " + "{b=" * 50_000, "nested too deeply"),
    "a key of 100,000 parts": ("a." * 100_000 + "a = 1", "nested too deeply"),
    "a quoted key of 100,000 parts": ('"a" . ' * 100_000 + "a = 1", "nested too deeply"),
    "a head of 100,000 parts": ("[" + "a." * 100_000 + "a]", "nested too deeply"),
    "a number of 10,000 digits": ("[weave]\ndepth = " + "9" * 10_000, "not valid TOML"),
    "the same, hexadecimal": ("[weave]\ndepth = 0x" + "f" * 10_000, "weave.depth"),
    "a number without end": ("[weave]\ncutoff = 1e999999", "weave.cutoff"),
    "a long name": ("k" * 500_000 + " = 1", "Unknown key kkk"),
    "a long text": ("[weave]\nstrategy = '" + "k" * 500_000 + "'", "weave.strategy"),
    "a key that draws": ('"\\u001b[2J\\u0000\\n" = 1', "Unknown key ␛[2J"),
    "a value that draws": ('[weave]\nstrategy = "\\u001b[2J\\n"', "weave.strategy"),
    "an action that draws": ('[keys]\n"\\u001b[2J\\n" = "f6"', "There is no action ␛[2J"),
    "a preset that draws": ('[presets."\\u001b[2J"]\n', "cannot be a preset's name"),
    "half a character": ('[weave]\nstrategy = "\\ud800"', "not valid TOML"),
    "nothing in a path": ("[models.m]\npath = 'a\\u0000'".replace("'", '"'), "models.m.path"),
    "nothing in a command": (
        '[models.m]\nbase_url = "https://a"\nkey_command = ["\\u0000"]', "models.m.key_command"),
    "nothing in the file": (b"\0\0\0", "not valid TOML"),
    "another encoding": ("[weave]\n".encode("utf-16"), "not UTF-8"),
    "too large": (b"#" * (MOST_BYTES + 1), "cannot be read"),
    "a hundred tables of one name": ("[[weave]]\n" * 100, "is a table"),
}  # fmt: skip


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_files_are_refused_in_a_few_words(tmp_path: Path, name: str) -> None:
    text, title = ABSURD[name]
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(file=path, environment={}, folder=tmp_path)
    error = caught.value
    assert title in error.title
    assert str(path) in error.cause
    said = str(error)
    assert len(said) < 1500
    assert all(one.isprintable() or one == "\n" for one in said)
    assert said.count("\n") <= 2


def test_a_bom_and_returns_change_nothing(tmp_path: Path) -> None:
    plain = load_config(file=written(tmp_path, everything()), environment={}, folder=tmp_path)
    odd = b"\xef\xbb\xbf" + everything().replace("\n", "\r\n").encode()
    again = load_config(file=written(tmp_path, odd), environment={}, folder=tmp_path)
    assert again.weave == plain.weave
    assert [one.detail for one in again.origins.values()] == [
        one.detail for one in plain.origins.values()
    ]


def test_what_is_no_file_of_its_own(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_config(file=path, environment={}, folder=tmp_path)
    with pytest.raises(OSError, match="a device"):
        TomlFile(Path("/dev/zero"))
