"""Weave, accept three ways, edit, undo, quit, resume: by keys, on the bundled model."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.helpers.program_home import Start
from tests.helpers.terminal import Terminal, llterm

pytestmark = pytest.mark.pty

PROMPT = "The little fox lived at the edge of"
CTRL_J, CTRL_G, CTRL_Q, CTRL_Z = "\n", "\x07", "\x11", "\x1a"
TAB, LEFT, RIGHT, CTRL_RIGHT = "\t", "\x1b[D", "\x1b[C", "\x1b[1;5C"


def story(path: Path) -> str:
    """The story of a loom file, as another llterm would read it."""
    from llterm.session.document import Document

    document = Document.open(path)
    try:
        return document.text
    finally:
        document.close()


def woven(terminal: Terminal) -> str:
    """Wait for a weave to end with suggestions on screen."""
    return terminal.wait_for(lambda text: re.search(r"\d+ suggestions? ", text))


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (120, 40)])
def test_a_session_from_start_to_resume(start: Start, home: Path, columns: int, rows: int) -> None:
    terminal = start("weave", "fox.loom", "--prompt", PROMPT, columns=columns, rows=rows)
    terminal.wait_for("fable")
    terminal.send(CTRL_J)
    woven(terminal)
    terminal.send(TAB)
    terminal.settle()
    terminal.send(CTRL_J)
    woven(terminal)
    terminal.send(CTRL_RIGHT)
    terminal.settle()
    terminal.send(RIGHT)
    terminal.settle()
    terminal.send(" zebra")
    terminal.wait_for("zebra")
    terminal.send(CTRL_Q)
    assert terminal.wait() == 0
    assert terminal.restored, terminal.left_on
    saved = story(home / "fox.loom")
    assert saved.startswith(PROMPT)
    assert saved.endswith(" zebra")

    again = start("weave", "fox.loom", columns=columns, rows=rows)
    again.wait_for("zebra")
    for _ in range(8):
        again.send(CTRL_Z)
        again.settle(0.2)
    again.send(CTRL_Q)
    assert again.wait() == 0
    assert story(home / "fox.loom") == PROMPT


def test_a_terminal_that_goes_away_ends_it_though_no_signal_comes(start: Start, home: Path) -> None:
    program = " ".join(map(shlex.quote, llterm("weave", "fox.loom", "--prompt", PROMPT)))
    # It leads the session, hears of the end and keeps it to itself, as `make weave` does.
    terminal = start(command=["sh", "-c", f"trap : HUP; {program}; echo $? >ended"])
    terminal.wait_for("fable")
    terminal.send(" zebra")
    terminal.wait_for("zebra")
    terminal.hang_up()
    terminal.wait()
    assert (home / "ended").read_text() == "0\n"
    assert story(home / "fox.loom") == f"{PROMPT} zebra"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_restores_the_terminal(
    start: Start, home: Path, number: signal.Signals
) -> None:
    terminal = start("weave", "fox.loom", "--prompt", PROMPT)
    terminal.wait_for("fable")
    terminal.send(" the wood")
    terminal.wait_for("the wood")
    terminal.signal(number)
    terminal.wait()
    assert terminal.restored, terminal.left_on
    assert story(home / "fox.loom") == PROMPT + " the wood"


def test_a_crash_in_native_code_restores_the_terminal(start: Start, home: Path) -> None:
    terminal = start("weave", "fox.loom", "--prompt", PROMPT)
    terminal.wait_for("fable")
    terminal.send(CTRL_J)
    woven(terminal)
    os.kill(child_of(terminal.pid), signal.SIGSEGV)
    assert terminal.wait() != 0
    assert terminal.restored, terminal.left_on
    assert b"llterm" in terminal.output.split(b"\x1b[?1049l")[-1]
    assert story(home / "fox.loom").startswith(PROMPT)


def test_a_fault_of_llterm_is_told_after_the_screen_is_gone(start: Start, home: Path) -> None:
    program = """
from llterm.cli import main
from llterm.session.session import Session

def fail(session, cursor):
    raise RuntimeError("a fault")

Session.move = fail
main()
"""
    command = [sys.executable, "-c", program, "weave", "fox.loom", "--prompt", PROMPT]
    terminal = start(command=command)
    terminal.wait_for("fable")
    terminal.send("ab" + LEFT)
    assert terminal.wait() == 1
    assert terminal.restored, terminal.left_on
    after = terminal.output.split(b"\x1b[?1049l")[-1].decode()
    assert "stopped on a fault of its own" in after
    log_file = home / "state" / "llterm" / "llterm.log"
    assert str(log_file) in after
    assert "RuntimeError: a fault" in log_file.read_text()
    assert story(home / "fox.loom") == PROMPT + "ab"


def child_of(pid: int) -> int:
    """The app behind the small process that guards the terminal."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else pid


def test_the_file_is_a_plain_sqlite_file(start: Start, home: Path) -> None:
    terminal = start("weave", "fox.loom", "--prompt", PROMPT)
    terminal.wait_for("fable")
    terminal.send(CTRL_Q)
    assert terminal.wait() == 0
    with sqlite3.connect(home / "fox.loom") as database:
        (answer,) = database.execute("pragma integrity_check").fetchone()
    assert answer == "ok"
