"""A second llterm is told that a model is served; what a server left behind says nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llterm.served_addresses import already_served, announced, served_at
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.program import folders
from tests.helpers.program import run as run_program
from tests.helpers.program_home import Start, start
from tests.helpers.served_program import serving

__all__ = ["start"]

AT = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in folders(tmp_path).items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_a_model_is_told_by_whatever_path_it_is_named(home: Path) -> None:
    link = home / "link.gguf"
    link.symlink_to(BUNDLED)
    assert already_served("fable", BUNDLED) == ""
    with announced(AT, [BUNDLED]):
        assert served_at(BUNDLED) == served_at(link) == AT
        assert AT in already_served("fable", link)
        assert served_at(home / "other.gguf") == ""
        assert already_served("a server's", None) == ""
    assert served_at(BUNDLED) == ""


@pytest.mark.parametrize("content", ["", "{", "[]", '{"address": 1}', "\0" * 99])
def test_what_is_left_behind_or_broken_says_nothing_and_goes(home: Path, content: str) -> None:
    note = home / "state/served/77.json"
    note.parent.mkdir(parents=True)
    note.write_text(content)
    assert served_at(BUNDLED) == ""
    assert not note.exists()


def test_a_server_that_cannot_write_its_note_serves(home: Path) -> None:
    (home / "state").write_text("no folder")
    with announced(AT, [BUNDLED]):
        assert served_at(BUNDLED) == ""


def test_a_second_server_says_where_the_first_is_and_a_killed_one_is_forgotten(home: Path) -> None:
    with serving(home, "-m", "fable") as first:
        with serving(home, "-m", "fable") as second:
            code, said = second.end()
        assert code == 0
        assert f"fable is served already at {first.address}" in said
        taken = run_program(home, "serve", "-m", "fable", "--port", str(first.port))
        assert taken.code == 2
        assert "cannot be had" in taken.err
        first.process.kill()
        first.process.wait()
    assert len(list((home / "state/served").iterdir())) == 1
    assert served_at(BUNDLED) == ""
    assert os.listdir(home / "state/served") == []


def test_who_weaves_is_told_that_the_model_is_served_already(home: Path, start: Start) -> None:
    with serving(home, "-m", "fable") as server:
        terminal = start("weave", "-m", "fable", columns=120, **folders(home))
        terminal.wait_for(f"fable is served already at {server.address}")
        terminal.wait_for(f"{server.address} uses it from there")
