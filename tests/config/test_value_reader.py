"""Mistakes in a file: each names file, line, key and the nearest valid one."""

from __future__ import annotations

from pathlib import Path

import pytest

from llterm.config import load_config
from llterm.errors import ConfigError

MISTAKES = [
    # text, line, in the title, in the hint
    ("[weave]\ndepth = 3\ncutof = 0.1\n", 3, "Unknown key cutof in [weave]", "cutoff"),
    ("[weev]\n", 1, "Unknown key weev", "weave"),
    ("theme = 'x'\n", 1, "Unknown key theme", "[ui]"),
    ("[weave]\ndepth = 'twelve'\n", 2, "weave.depth", "whole number"),
    ("[weave]\ndepth = 3.5\n", 2, "weave.depth", "1 to 500"),
    ("[weave]\ndepth = true\n", 2, "weave.depth", "whole number"),
    ("[weave]\ncutoff = nan\n", 2, "weave.cutoff", "0 to 1"),
    ("[weave]\nheal = 1\n", 2, "weave.heal", "yes or no"),
    ("[weave]\nstop = 'x'\n", 2, "weave.stop", "list of texts"),
    ("[weave]\nsplit_limit = 1\nsplit-limit = 2\n", 3, "set twice", "one of them"),
    ("weave = 3\n", 1, "is a table", "[weave]"),
    ("[sampling]\ntempertaure = 1\n", 2, "Unknown key tempertaure", "temperature"),
    ("[weave]\ntop_p = 0.5\n", 2, "Unknown key top_p in [weave]", "[sampling]"),
    ("[sampling]\ntop_p = 1.5\n", 2, "sampling.top_p", "0 to 1"),
    ("[sampling]\npreset = 'creativ'\n", 2, "sampling.preset", "How tokens are drawn"),
    ("[sampling]\norder = ['top_q']\n", 2, "sampling.order", "order"),
    ("[sampling]\norder = ['top_p', 'top_p']\n", 2, "sampling.order", "order"),
    ("[sampling]\nbias = ['cat']\n", 2, "sampling.bias", "#ID=NUMBER"),
    ("[sampling]\nban = ['']\n", 2, "sampling.ban", "never written"),
    ("[presets.greedy]\ntop_p = 1\n", 1, "greedy", "none of llterm's own"),
    ("[presets.mine]\ntop_q = 1\n", 2, "top_q in [presets.mine]", "top_"),
    ("[presets.mine]\nban = ['x']\n", 2, "Unknown key ban", "[sampling]"),
    ("[presets]\nmine = 3\n", 2, "is a table", "[presets.mine]"),
    ("[ui]\ncolor = 'pink'\n", 2, "ui.color", "256"),
    ("[models.m]\npath = ''\n", 2, "models.m.path", ".gguf"),
    ("[models.m]\nbatch = 64\n", 1, "no path", "path ="),
    ("\n[models.m]\n", 2, "no path", "path ="),
    ("[models.m]\npath = 'a'\nkv_typ = 'f16'\n", 3, "kv_typ", "kv_type"),
    ("[models.'a/b']\npath = 'a'\n", 1, "name", "letters"),
    ("models.m = 'a.gguf'\n", 1, "is a table", "[models.m]"),
    ("[keys]\n'weave.strat' = 'f6'\n", 2, "weave.strat", "weave.start"),
    ("[keys]\n'weave.start' = 'ctrl+m'\n", 2, "ctrl+m", "keys --test"),
    ("[keys]\n'weave.start' = 3\n", 2, "not a text", "ctrl+j"),
    ("[weave]\ndepth 3\n", 2, "not valid TOML", "quotes"),
    ("[weave]\ndepth = 3\n\n[weave]\nbeams = 3\n", 4, "not valid TOML", ""),
]


@pytest.mark.parametrize(("text", "line", "title", "hint"), MISTAKES)
def test_mistakes_are_named(tmp_path: Path, text: str, line: int, title: str, hint: str) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(file=path, environment={}, folder=tmp_path)
    error = caught.value
    assert title in error.title
    assert str(path) in error.cause
    assert f"line {line}" in error.cause or f":{line}" in error.cause
    assert hint in error.hint


@pytest.mark.parametrize(
    ("data", "title"), [(b"[weave]\ndepth = 3 # \xff\n", "not UTF-8"), (None, "cannot be read")]
)
def test_files_that_cannot_be_read(tmp_path: Path, data: bytes | None, title: str) -> None:
    path = tmp_path / "my.toml"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load_config(file=path, environment={}, folder=tmp_path)
    assert title in caught.value.title
    assert str(path) in caught.value.cause


def test_the_line_is_found_after_values_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('[weave]\nstop = [\n  "a",\n  "depth = 9",\n]\n# depth = 9\ndepth = 999\n')
    with pytest.raises(ConfigError) as caught:
        load_config(file=path, environment={}, folder=tmp_path)
    assert f"{path}, line 7:" in caught.value.cause
