"""Nothing but inert text reaches the terminal, and noise on fd 2 does not tear the screen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.helpers.program_home import Start

pytestmark = pytest.mark.pty

HOSTILE = (
    b"The maker\x1b]0;owned\x07 went\x1b[2J to\x9b31m the \xe2\x80\xaegnp.exe\xe2\x80\xac"
    b" [red]river[/red] \x1b[?1049l\x1bPq\x1b\\ and\xff\xfe back\x08\x08\r\n\x0c to the"
)
CTRL_J, CTRL_Q, TAB = "\n", "\x11", "\t"
FORBIDDEN = [
    b"\x1b]0;owned",
    b"\x1b[2J to",
    b"\xc2\x9b31m",
    "\u202e".encode(),
    b"\x1bPq",
    b"\x1b[?1049l\x1bP",
]


def test_a_hostile_story_is_drawn_as_inert_text(start: Start, home: Path) -> None:
    path = home / "bad [bold]\x1b[31mname.txt"
    path.write_bytes(HOSTILE)
    terminal = start("weave", path.name, "-m", "scripted")
    terminal.wait_for("[red]river[/red]")
    terminal.send(CTRL_J)
    terminal.wait_for(lambda text: re.search(r"\d+ suggestions? · ", text))
    terminal.send(TAB)
    terminal.settle()
    running = terminal.output
    assert "owned" in terminal.text
    for sequence in FORBIDDEN:
        assert sequence not in running
    assert b"\x1b[31mname" not in running
    terminal.send(CTRL_Q)
    assert terminal.wait() == 0
    assert terminal.restored, terminal.left_on


NOISE = """
import ctypes, os, sys, threading
from llterm.cli import main
libc = ctypes.CDLL(None)
def shout():
    for _ in range(400):
        libc.write(2, b"NOISE FROM C\\n\\x1b[2J", 17)
        libc.usleep(5000)
os.register_at_fork(after_in_child=lambda: threading.Timer(0.8, shout).start())
sys.argv = ["llterm", "weave", "a.loom", "--prompt", "The maker went to the", "-m", "scripted"]
main()
"""


def test_noise_from_c_goes_to_the_log(start: Start, home: Path) -> None:
    import sys

    script = home / "noisy.py"
    script.write_text(NOISE)
    terminal = start(command=[sys.executable, str(script)])
    terminal.wait_for("The maker")
    terminal.settle(1.5)
    terminal.send(CTRL_J)
    terminal.wait_for(lambda text: re.search(r"\d+ suggestions? · ", text))
    assert b"NOISE" not in terminal.output
    terminal.send(CTRL_Q)
    assert terminal.wait() == 0
    logs = [path for path in (home / "state").rglob("*") if path.is_file()]
    assert any(b"NOISE FROM C" in path.read_bytes() for path in logs)


def test_a_hostile_name_on_the_progress_line(start: Start, home: Path) -> None:
    model = home / "x\x1b]52;c;aGk=\x07\u202e.gguf"
    model.symlink_to(Path(__file__).parents[2] / "llterm" / "models" / "fable-q8_0.gguf")
    terminal = start("suggest", "--prompt", "The maker", "--depth", "2", "-m", model.name)
    assert terminal.wait() == 0
    assert b"Opening x" in terminal.output
    assert b"\x1b]" not in terminal.output
    assert "\u202e".encode() not in terminal.output
