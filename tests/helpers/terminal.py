"""A real pseudo-terminal with a program in it: keys in, a screen out, bytes counted."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyte

PATIENCE = 60.0
"""Seconds after which a screen that never comes is a failure (a loaded machine may be slow)."""

_UNKNOWN_TO_PYTE = re.compile(rb"\x1b\[[<>=][0-9;]*[a-zA-Z]")


class Terminal:
    """One program in a pseudo-terminal of its own."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        columns: int = 80,
        rows: int = 24,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.output = b""
        self.writes = 0
        """How many times output was found waiting: close to the program's own writes."""
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self.status: int | None = None
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LLTERM_")}
        environ = {**kept, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(env or {})}
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            # Tests that run in the background were started with ctrl+c ignored; a shell is not.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            if cwd is not None:
                os.chdir(cwd)
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.execvpe(command[0], list(command), environ)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.modes = termios.tcgetattr(self._fd)

    def send(self, keys: str | bytes) -> None:
        os.write(self._fd, keys.encode() if isinstance(keys, str) else keys)

    def resize(self, columns: int, rows: int) -> None:
        self._screen.resize(rows, columns)
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds: float = 0.05) -> bytes:
        """What comes within this time, shown; b"" when nothing does."""
        data = self.take(seconds)
        if data:
            self.show(data)
        return data

    def take(self, seconds: float) -> bytes:
        """What the program writes within this time."""
        ready, _, _ = select.select([self._fd] if self._fd >= 0 else [], [], [], seconds)
        if not ready:
            return b""
        try:
            return os.read(self._fd, 1 << 20)
        except OSError:
            return b""

    def show(self, data: bytes) -> None:
        """Let it be on the screen."""
        self.output += data
        self.writes += 1
        self._stream.feed(_UNKNOWN_TO_PYTE.sub(b"", data))

    @property
    def text(self) -> str:
        """The screen as text, one line a row."""
        return "\n".join(line.rstrip() for line in self._screen.display)

    def wait_for(self, wanted: str | Callable[[str], object], seconds: float = PATIENCE) -> str:
        """Read until the screen shows `wanted`; the screen then. Fails with the screen if never."""
        shows = (lambda text: wanted in text) if isinstance(wanted, str) else wanted
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if shows(self.text):
                return self.text
            self.read()
        raise AssertionError(f"never shown: {wanted!r}\n{self.text}")

    def settle(self, quiet: float = 0.4, seconds: float = PATIENCE) -> str:
        """Read until nothing has come for `quiet` seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and self.read(quiet):
            pass
        return self.text

    def wait(self, seconds: float = PATIENCE) -> int:
        """The program's exit code (128 + n for a signal) once it has ended."""
        until = time.monotonic() + seconds
        while self.status is None and time.monotonic() < until:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        if self.status is None:
            raise AssertionError(f"still running\n{self.text}")
        while self.read(0.05):
            pass
        return self.status

    def signal(self, number: int) -> None:
        """Send a signal to the program (not to its children)."""
        os.kill(self.pid, number)

    def hang_up(self) -> None:
        """Take the terminal away, as a dropped connection does."""
        os.close(self._fd)
        self._fd = -1

    def close(self) -> None:
        """End the program if it still runs, and what it started."""
        if self.status is None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(self.pid, number)
                except ProcessLookupError:
                    break
                until = time.monotonic() + 5
                while self.status is None and time.monotonic() < until:
                    self.read(0.02)
                    pid, status = os.waitpid(self.pid, os.WNOHANG)
                    if pid:
                        self.status = os.waitstatus_to_exitcode(status)
                if self.status is not None:
                    break
        if self._fd >= 0:
            os.close(self._fd)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def restored(self) -> bool:
        """Whether the program left every mode it had set, as far as its output tells."""
        return not self.left_on and termios.tcgetattr(self._fd)[:4] == self.modes[:4]

    @property
    def left_on(self) -> list[str]:
        """Modes that were set and not unset again."""
        left = []
        for mode in (b"1049", b"1000", b"1002", b"1003", b"1006", b"2004", b"1004"):
            on, off = (self.output.rfind(b"\x1b[?" + mode + one) for one in (b"h", b"l"))
            if on > off:
                left.append(mode.decode())
        if self.output.rfind(b"\x1b[?25l") > self.output.rfind(b"\x1b[?25h"):
            left.append("cursor hidden")
        pushed, popped = (len(re.findall(one, self.output)) for one in (
            rb"\x1b\[>[0-9]+u", rb"\x1b\[<[0-9]*u"))  # fmt: skip
        if pushed > popped:
            left.append("kitty keyboard")
        return left


def llterm(*arguments: str) -> list[str]:
    """The command line of this very installation."""
    return [sys.executable, "-m", "llterm", *arguments]


def process_state(pid: int) -> str:
    """The first letter of a process's state: T is stopped."""
    told = subprocess.run(
        ["ps", "-o", "state=", "-p", str(pid)], capture_output=True, text=True, check=True
    )
    return told.stdout.strip()[:1]
