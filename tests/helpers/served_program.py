"""The real `llterm serve` in a process of its own, and what it takes of memory."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.program import start

_ADDRESS = re.compile(r"llterm serves .* at (http://\S+)")


class ServedProgram:
    """A server under way."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self.process = process
        self.address = address
        """With its port; no path."""

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def resident(self) -> int:
        """KiB of memory that it has, with all that it started."""
        listed = subprocess.run(
            ["ps", "-e", "-o", "pid=,ppid=,rss="], capture_output=True, text=True, check=True
        )
        rows = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
        sizes = {pid: rss for pid, _, rss in rows}
        family = {self.process.pid}
        while more := {pid for pid, parent, _ in rows if parent in family} - family:
            family |= more
        return sum(sizes[pid] for pid in family if pid in sizes)

    @property
    def children(self) -> list[int]:
        """Processes that it started, and that have not ended."""
        listed = subprocess.run(
            ["ps", "-e", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True
        )
        rows = [line.split() for line in listed.stdout.splitlines()]
        mine = [(pid, stat) for pid, parent, stat in rows if int(parent) == self.process.pid]
        return [int(pid) for pid, stat in mine if "Z" not in stat]

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Tell it to end. Returns its exit code, and what it said on stderr."""
        self.process.send_signal(number)
        _, said = self.process.communicate()
        return self.process.returncode, said.decode()


@contextmanager
def serving(home: Path, *arguments: str, **environment: str) -> Iterator[ServedProgram]:
    """`llterm serve` at a port that is free, when it answers; killed if it was not ended."""
    process = start(home, "serve", "--port", "0", *arguments, **environment)
    try:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        greeted = _ADDRESS.match(line)
        if greeted is None:
            raise AssertionError(line + process.communicate()[1].decode())
        yield ServedProgram(process, greeted[1])
    finally:
        process.kill()
        process.communicate()
