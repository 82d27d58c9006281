"""NO_COLOR: not one colour is sent, by the app or by a command; bold, dim and reverse are none."""

from __future__ import annotations

import re

import pytest

from tests.helpers.program_home import Start

pytestmark = pytest.mark.pty

CTRL_O, CTRL_Q, F1, F4 = "\x0f", "\x11", "\x1bOP", "\x1bOS"
_SGR = re.compile(rb"\x1b\[([0-9;:]*)m")


def colours(output: bytes) -> set[bytes]:
    """Every sequence that sets a colour."""
    return {
        match.group()
        for match in _SGR.finditer(output)
        for number in re.split(rb"[;:]", match.group(1))
        if number.isdigit() and (30 <= int(number) < 50 or 90 <= int(number) < 108)
    }


def test_the_app_sends_no_colour(start: Start) -> None:
    story = ("--prompt", "Every evening the cat", "-m", "scripted")
    terminal = start("weave", "a.loom", *story, NO_COLOR="1")
    terminal.wait_for(lambda text: re.search(r"\d+ suggestions? · ", text))
    for keys in (CTRL_O, F4, F1):
        terminal.send(keys)
        terminal.settle()
    assert re.search(rb"\x1b\[(?:[0-9;]*;)?7(?:;[0-9;]*)?m", terminal.output), "reverse is told"
    assert not colours(terminal.output)
    terminal.send("\x1b")
    terminal.settle()
    terminal.send(CTRL_Q)
    terminal.wait()
    assert not colours(terminal.output)


def test_commands_send_no_colour(start: Start) -> None:
    for line in ("score -m fable --prompt", "suggest -m scripted --prompt"):
        terminal = start(*line.split(), "Every evening the cat", NO_COLOR="1")
        assert terminal.wait() == 0
        assert terminal.output
        assert not colours(terminal.output)


def test_with_colours_there_are_some(start: Start) -> None:
    terminal = start("score", "-m", "fable", "--prompt", "Every evening the cat")
    assert terminal.wait() == 0
    assert colours(terminal.output)
