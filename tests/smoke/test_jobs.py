"""A job of a real shell: stopped and continued at every phase of its life, both processes of it."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from tests.helpers.program_home import Start
from tests.helpers.terminal import Terminal, process_state

pytestmark = pytest.mark.pty

SLOW = """
import asyncio, os, pathlib, sys
from llterm.backends import registry
from llterm.backends.scripted import ScriptedBackend
from llterm.cli import main

def reached(phase):
    pathlib.Path(phase).write_text(f"{os.getppid()} {os.getpid()}")

def passed(phase):
    reached(phase)
    while not pathlib.Path(f"{phase} is over").exists():
        pathlib.Path("tick").touch()

class Slow(ScriptedBackend):
    async def close(self):
        passed("quitting")
        await super().close()

async def open_model(*_):
    await asyncio.to_thread(passed, "loading")
    return Slow()

find, first = registry.find_model, os.getpid()

def find_model(*given):
    if os.getpid() != first and not pathlib.Path("starting").exists():
        passed("starting")
    return find(*given)

registry.open_model, registry.find_model = open_model, find_model
sys.argv = ["llterm", "weave", "a.loom", "--prompt", "The maker", "-m", "scripted"]
main()
"""
CTRL_Q, CTRL_Z = "\x11", "\x1a"


def test_both_processes_stop_and_go_on_at_every_phase(start: Start, home: Path) -> None:
    (home / "slow.py").write_text(SLOW)
    shell = start(command=["bash", "--norc", "--noprofile", "-i"], PS1="shell> ", LC_ALL="C.UTF-8")
    shell.wait_for("shell>")
    shell.send(f"'{sys.executable}' slow.py\n")

    job = processes(shell, home, "starting")
    stopped(shell, job, CTRL_Z)
    continued(shell, job)
    (home / "starting is over").touch()

    assert processes(shell, home, "loading") == job
    shell.wait_for("The maker")
    for _ in range(2):
        stopped(shell, job)
        continued(shell, job)
        shell.wait_for("The maker")
    (home / "loading is over").touch()

    shell.wait_for("weave  ")
    stopped(shell, job)
    continued(shell, job)
    shell.wait_for("The maker")
    shell.send(CTRL_Q)

    processes(shell, home, "quitting")
    stopped(shell, job)
    continued(shell, job)
    shell.output = b""
    (home / "quitting is over").touch()
    shell.wait_for(lambda _: b"shell>" in shell.output)
    shell.send("echo code $?\n")
    shell.wait_for(lambda _: b"code 0" in shell.output)
    assert set(shell.left_on) <= {"2004"}, "the shell's own, for its next line"


def processes(shell: Terminal, home: Path, phase: str) -> tuple[int, int]:
    """The supervisor and the app, once they are there."""
    path = home / phase
    shell.wait_for(lambda _: path.exists() and path.read_text())
    parent, child = map(int, path.read_text().split())
    return parent, child


def stopped(shell: Terminal, job: tuple[int, int], key: str = "") -> None:
    """By a key of the terminal, or as `kill -TSTP %1` does it: to the whole job."""
    shell.output = b""
    if key:
        shell.send(key)
    else:
        os.killpg(os.getpgid(job[0]), signal.SIGTSTP)
    shell.wait_for(lambda _: all(process_state(one) == "T" for one in job))
    shell.wait_for(lambda _: b"Stopped" in shell.output and b"shell>" in shell.output)


def continued(shell: Terminal, job: tuple[int, int]) -> None:
    shell.send("fg\n")
    shell.wait_for(lambda _: not any(process_state(one) == "T" for one in job))
