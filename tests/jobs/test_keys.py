"""`llterm keys`: the table, the JSON, and the tester in a real terminal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llterm.cli.key_test import key_names
from llterm.keymap import ACTIONS
from tests.helpers.program import folders, run
from tests.helpers.terminal import Terminal, llterm


def test_the_table_has_every_action_and_marks_own_keys(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/llterm.toml").write_text("[keys]\n'weave.stop' = 'f18'\n")
    ran = run(tmp_path, "keys")
    assert ran.code == 0
    for action in ACTIONS:
        assert action.id in ran.out
    (line,) = [line for line in ran.out.splitlines() if line.startswith("weave.stop")]
    assert line.split()[:3] == ["weave.stop", "*", "f18"]


def test_the_json(tmp_path: Path) -> None:
    printed = json.loads(run(tmp_path, "keys", "--format", "json").out)
    assert printed["version"] == 1
    assert [row["id"] for row in printed["actions"]] == [action.id for action in ACTIONS]


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("\n", "ctrl+j"),
        ("\r", "enter"),
        ("\t", "tab"),
        ("\x08", "backspace"),
        ("\x1b[1;5C", "ctrl+right"),
        ("\x1bOP", "f1"),
        ("\x1b[13;5u", "ctrl+enter"),
        ("\x1b", "escape"),
        ("a", "a"),
    ],
)
def test_keys_have_the_names_that_the_app_knows(data: str, name: str) -> None:
    assert key_names(data) == (name,)


def test_a_held_alt_key_types_nothing() -> None:
    assert key_names("\x1bu\x1bu\x1bu") == ("alt+u",) * 3
    assert key_names("\x1bdx\x1b[A\x1bf") == ("alt+d", "x", "up", "ctrl+right")


@pytest.mark.pty
def test_the_tester_shows_what_arrives_and_puts_the_terminal_back(tmp_path: Path) -> None:
    with Terminal(llterm("keys", "--test"), env=folders(tmp_path), cwd=tmp_path) as terminal:
        terminal.wait_for("BYTES")
        terminal.send("\n")
        terminal.wait_for("weave.start")
        terminal.send("\x08")
        terminal.wait_for("backspace")
        terminal.send("\x11")
        terminal.wait_for("app.quit")
        terminal.send("\x11")
        assert terminal.wait() == 0
        assert terminal.restored, terminal.left_on
