"""What the terminal is told and what it is not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llterm import terminal
from tests.helpers.terminal import Terminal


@pytest.mark.parametrize(
    ("environment", "wanted", "found"),
    [
        ({"TERM": "xterm-256color"}, "auto", "256"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "auto", "truecolor"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "256", "256"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, "256", "none"),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, "auto", "256"),
        ({"TERM": "xterm-ghostty"}, "auto", "truecolor"),
        ({"TERM": "xterm-kitty"}, "auto", "truecolor"),
        ({"TERM": "alacritty"}, "auto", "truecolor"),
        ({"TERM": "foot-extra"}, "auto", "truecolor"),
        ({"TERM": "wezterm"}, "auto", "truecolor"),
        ({"TERM": "tmux-direct"}, "auto", "truecolor"),
        ({"TERM": "screen"}, "auto", "16"),
        ({"TERM": "screen"}, "truecolor", "truecolor"),
    ],
)
def test_colours(environment: dict[str, str], wanted: str, found: str) -> None:
    assert terminal.colours_found(environment, wanted) == found


def test_over_ssh_less_is_drawn() -> None:
    environment = {"TERM": "xterm-256color", "SSH_CONNECTION": "a b c d"}
    terminal.prepare(environment)
    assert environment["TEXTUAL_FPS"] == "20"
    assert environment["TEXTUAL_ANIMATIONS"] == "none"


def test_what_the_person_set_stays() -> None:
    environment = {"SSH_TTY": "x", "TEXTUAL_FPS": "5", "TEXTUAL_COLOR_SYSTEM": "256"}
    terminal.prepare(environment, color="truecolor", fps=30)
    assert environment["TEXTUAL_FPS"] == "5"
    assert environment["TEXTUAL_COLOR_SYSTEM"] == "256"


def test_the_configuration_is_told_to_textual() -> None:
    environment: dict[str, str] = {"NO_COLOR": ""}
    terminal.prepare(environment, color="16", fps=30)
    assert environment == {"TEXTUAL_FPS": "30", "TEXTUAL_COLOR_SYSTEM": "standard"}
    terminal.prepare(environment, monochrome=True)
    assert environment["NO_COLOR"] == "1"


@pytest.mark.pty
def test_what_c_code_prints_goes_to_the_log_and_the_app_still_draws(tmp_path: Path) -> None:
    program = """
import ctypes, os, pathlib, sys
from llterm.terminal import stderr_to
with stderr_to(pathlib.Path("the.log")):
    ctypes.CDLL(None).write(2, b"from C", 6)
    os.write(2, b"from Python")
    sys.__stderr__.write("drawn \\u2423\\n")
    sys.__stderr__.flush()
    assert sys.__stderr__.isatty()
sys.stderr.write("said afterwards\\n")
"""
    root = str(Path(__file__).parents[1])
    with Terminal(
        [sys.executable, "-c", program], env={"PYTHONPATH": root}, cwd=tmp_path
    ) as screen:
        assert screen.wait() == 0
    shown = screen.output.decode()
    assert "drawn ␣" in shown
    assert "said afterwards" in shown
    assert "from" not in shown
    assert (tmp_path / "the.log").read_text() == "from Cfrom Python"
