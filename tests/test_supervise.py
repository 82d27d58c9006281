"""The parent process that keeps the terminal: real processes in a real pseudo-terminal."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.terminal import Terminal, process_state

pytestmark = pytest.mark.pty

HEAD = """
import ctypes, os, pathlib, signal, sys, termios, time, tty
from llterm.supervise import supervise

def screen():
    "Do to the terminal what the app does to it."
    tty.setraw(0)
    for mode in (1000, 1003, 1006, 1004, 2004):
        sys.stderr.write(f"\\x1b[?{mode}h")
    sys.stderr.write("\\x1b[?1049h\\x1b[?25l\\x1b[>25u")
    sys.stderr.flush()

def tell(name, text=""):
    pathlib.Path(name).write_text(text or str(os.getpid()))

def app():
"""
TAIL = """
tell("parent")
code = supervise(app, pathlib.Path("the.log"))
tell("code", str(code))
sys.exit(code)
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Terminal]]:
    terminals: list[Terminal] = []
    yield terminals
    for terminal in terminals:
        terminal.close()


def start(started: list[Terminal], folder: Path, body: str) -> Terminal:
    lines = "\n".join("    " + line for line in body.splitlines())
    root = str(Path(__file__).parents[1])
    terminal = Terminal(
        [sys.executable, "-c", HEAD + lines + TAIL], env={"PYTHONPATH": root}, cwd=folder
    )
    started.append(terminal)
    return terminal


def wait_for_file(terminal: Terminal, path: Path) -> str:
    terminal.wait_for(lambda _: path.exists() and path.read_text())
    return path.read_text()


CRASHES = {
    "a null pointer": "ctypes.string_at(0)",
    "abort": "os.abort()",
    "out of memory": "os.kill(os.getpid(), signal.SIGKILL)",
    "exit called by a library": "ctypes.CDLL(None).exit(0)",
    "_exit": "os._exit(3)",
}


@pytest.mark.parametrize("how", CRASHES)
def test_after_a_crash_the_terminal_is_as_before(
    started: list[Terminal], tmp_path: Path, how: str
) -> None:
    terminal = start(started, tmp_path, f"screen()\n{CRASHES[how]}")
    assert terminal.wait() == 1
    assert terminal.restored, terminal.left_on
    said = terminal.output.split(b"\x1b[?1049l")[-1].decode()
    assert "ended in the middle of its work" in said
    assert "saved" in said
    assert "the.log" in said


@pytest.mark.parametrize("code", [0, 3])
def test_a_normal_end_says_nothing_and_keeps_the_code(
    started: list[Terminal], tmp_path: Path, code: int
) -> None:
    terminal = start(started, tmp_path, f"print('done')\nreturn {code}")
    assert terminal.wait() == code
    assert terminal.output.strip() == b"done"


def test_a_fault_in_python_is_shown_and_modes_are_put_back(
    started: list[Terminal], tmp_path: Path
) -> None:
    terminal = start(started, tmp_path, "tty.setraw(0)\nraise RuntimeError('a fault')")
    assert terminal.wait() == 1
    assert b"a fault" in terminal.output
    assert terminal.restored


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_parent_reaches_the_app(
    started: list[Terminal], tmp_path: Path, number: signal.Signals
) -> None:
    body = f"""
heard = []
signal.signal({int(number)}, lambda *_: heard.append(1))
tell("child")
while not heard:
    signal.pause()
return 7
"""
    terminal = start(started, tmp_path, body)
    wait_for_file(terminal, tmp_path / "child")
    terminal.signal(number)
    assert terminal.wait() == 7


def test_an_app_without_a_handler_ends_quietly(started: list[Terminal], tmp_path: Path) -> None:
    terminal = start(started, tmp_path, "screen()\ntell('child')\nsignal.pause()")
    wait_for_file(terminal, tmp_path / "child")
    terminal.signal(signal.SIGTERM)
    assert terminal.wait() == 128 + signal.SIGTERM
    assert terminal.restored, terminal.left_on
    assert b"middle of its work" not in terminal.output


def test_a_stopped_app_stops_the_job_and_goes_on_with_it(
    started: list[Terminal], tmp_path: Path
) -> None:
    terminal = start(
        started, tmp_path, "tell('child')\nos.kill(os.getpid(), signal.SIGSTOP)\nreturn 5"
    )
    child = int(wait_for_file(terminal, tmp_path / "child"))
    terminal.wait_for(lambda _: process_state(terminal.pid) == process_state(child) == "T")
    os.kill(terminal.pid, signal.SIGCONT)
    assert terminal.wait() == 5


def test_when_the_parent_is_killed_the_app_ends_in_good_order(
    started: list[Terminal], tmp_path: Path
) -> None:
    body = """
def end(*_):
    tell("ended")
    os._exit(0)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the terminal's own, for its session leader is gone
tell("child")
while True:
    signal.pause()
"""
    terminal = start(started, tmp_path, body)
    wait_for_file(terminal, tmp_path / "child")
    terminal.signal(signal.SIGKILL)
    terminal.wait()
    wait_for_file(terminal, tmp_path / "ended")
