"""Runs the program many times, without the cost of starting it each time.

A batch of runs is one process, forked from one that has imported the program and that nothing else
has happened to: its streams, limits and rights can be made what a test needs.
"""

from __future__ import annotations

import ctypes
import fcntl
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, TextIO

from tests.helpers.program import Ran, folders

PATIENCE = 120.0
"""Seconds after which a run that has not ended hangs."""
Stream = Literal["pipe", "closed", "full"]
_ROOM = 1 << 20
"""Bytes that a run may print: they wait in its pipes until it has ended."""
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(
    ["tests.helpers.program_batch", "llterm.cli.app", "llterm.cli.export_import",
     "llterm.cli.classify", "llterm.jobs.compare", "llterm.jobs.mix", "llterm.jobs.sample",
     "llterm.jobs.suggest", "llterm.reports.models_text"]
)  # fmt: skip
_CAPABILITIES, _OVERRIDE, _SEARCH = 0x20080522, 1 << 1, 1 << 2
"""The version of Linux's structure, and CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH in it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Runs one after another, and what is odd about all of them."""

    home: Path
    lines: Sequence[Sequence[str]]
    """What is typed after the program's name, run by run."""
    stdout: Stream = "pipe"
    stderr: Stream = "pipe"
    full: bool = False
    """No file takes a byte, as on a full disk."""
    environment: Mapping[str, str] = field(default_factory=dict)


def run(asked: Batch) -> list[Ran]:
    """The exit codes and both outputs. Fails where a run does not end."""
    here, there = _CONTEXT.Pipe()
    process = _CONTEXT.Process(target=_runs, args=(there, asked))
    process.start()
    there.close()
    found: list[Ran] = []
    for line in asked.lines:
        if not here.poll(PATIENCE):
            process.kill()
            raise AssertionError(f"it hangs: llterm {line}")
        found.append(here.recv())
    process.join()
    return found


def _runs(answer: Connection, asked: Batch) -> None:
    os.chdir(asked.home)
    for name in [name for name in os.environ if name.startswith("LLTERM")]:
        del os.environ[name]
    os.environ.update({**folders(asked.home), **asked.environment})
    _obey_modes()
    if asked.full:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for line in asked.lines:
        answer.send(_one(asked, line))


def _one(asked: Batch, line: Sequence[str]) -> Ran:
    pipes = os.pipe(), os.pipe()
    for _, end in pipes:
        fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, _ROOM)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = _stream(1, asked.stdout, pipes[0][1])
    sys.stderr = _stream(2, asked.stderr, pipes[1][1])
    code = _ended(line)
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            code = 120  # The interpreter's own, where it cannot flush them as it ends.
    for number in (1, 2):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    texts = []
    for begin, end in pipes:
        os.close(end)
        with open(begin, "rb") as pipe:
            texts.append(pipe.read().decode("utf-8", "surrogateescape"))
    return Ran(code, *texts)


def _stream(number: int, how: Stream, pipe: int) -> TextIO | None:
    """A standard stream as the interpreter makes it when it starts."""
    if how == "closed":
        os.close(number)
        return None
    os.dup2(os.open("/dev/full", os.O_WRONLY) if how == "full" else pipe, number)
    return open(number, "w", encoding="utf-8", closefd=False)


def _obey_modes() -> None:
    """Root is refused what modes refuse, without its rights to override them and to search."""
    if os.geteuid() == 0:
        libc = ctypes.CDLL(None)
        head = (ctypes.c_uint32 * 2)(_CAPABILITIES, 0)
        sets = (ctypes.c_uint32 * 6)()
        libc.capget(head, sets)
        for effective_or_permitted in (0, 1):
            sets[effective_or_permitted] &= ~(_OVERRIDE | _SEARCH)
        assert libc.capset(head, sets) == 0


def _ended(line: Sequence[str]) -> int:
    from llterm.cli import main

    sys.argv = ["llterm", *line]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0
