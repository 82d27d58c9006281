"""What commands write: data on stdout, narration on stderr.

All of it goes through here. What a terminal could obey is made inert, whoever wrote it; data that
stdout does not take is an error, and narration that stderr does not take is let go: it never
changes an answer.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Self

from llterm.errors import LltermError, reason

_STDOUT, _STDERR = 1, 2
_ANEW = "\r\x1b[2K"
"""Empties the line and goes to its beginning."""


class OutputLost(LltermError):
    """Standard output takes no more."""


class CheckedOutput(io.TextIOWrapper):
    """Standard output whose refusals are errors to show, also where the parser prints its help."""

    over: io.TextIOWrapper
    """What it stands in for: that one, once forgotten, would close what both write to."""

    def write(self, text: str) -> int:
        with _refusals():
            return super().write(text)

    def flush(self) -> None:
        with _refusals():
            super().flush()


def begin() -> None:
    """Make the standard streams safe to write to, at the start of the program.

    One that was closed would leave its number to the next file that is opened, a loom for one,
    and what a library prints would go there.
    """
    for number in (0, _STDOUT, _STDERR):
        with suppress(OSError):
            os.fstat(number)
            continue
        # Stdout only to read from: what is printed there fails then, as on a full disk.
        _put_nowhere(number, os.O_RDONLY if number == _STDOUT else os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = os.fdopen(_STDERR, "w", encoding="utf-8", closefd=False)
    # A terminal or pipe that cannot take a character gets a stand-in for it, not an error.
    if isinstance(sys.stderr, io.TextIOWrapper):
        sys.stderr.reconfigure(errors="replace")
    if sys.stdout is None:
        sys.stdout = CheckedOutput(os.fdopen(_STDOUT, "wb", closefd=False), "utf-8", "replace")
    elif isinstance(sys.stdout, io.TextIOWrapper):
        old = sys.stdout
        sys.stdout = CheckedOutput(
            old.buffer, old.encoding, "replace", line_buffering=old.line_buffering
        )
        sys.stdout.over = old


def put(text: str) -> None:
    """Print data, inert, and a line break where it has none at its end. Raises OutputLost."""
    put_parts((text, "" if text.endswith("\n") else "\n"))


def put_parts(parts: Iterable[str]) -> None:
    """Print data part by part as it is made, inert. Raises OutputLost."""
    for part in parts:
        _write(_inert(part))
    put_drawn("")


def put_drawn(text: str) -> None:
    """Print text whose escape sequences are llterm's own. Raises OutputLost."""
    with _refusals():
        _write(text)
        sys.stdout.flush()


def put_bytes(data: bytes) -> None:
    """Print a file's bytes as they are; on a terminal, which would obey them, inert.

    Raises OutputLost.
    """
    if sys.stdout.isatty():
        put(data.decode("utf-8", "surrogateescape"))
        return
    with _refusals():
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


def say(text: str) -> None:
    """Write a line of narration, inert, whatever names and texts are in it."""
    say_drawn(_inert(text) + "\n")


def say_drawn(text: str) -> None:
    """Write narration whose escape sequences are llterm's own."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        _put_nowhere(_STDERR, os.O_RDWR)


def finish() -> None:
    """Nothing may be flushed to stdout at exit any more: its reader has left."""
    _put_nowhere(_STDOUT, os.O_RDWR)


def _inert(text: str) -> str:
    # Not before there is something to say: numpy comes along.
    from llterm.core.display_text import area_text

    return area_text(text)


def _write(text: str) -> None:
    with _refusals():
        sys.stdout.write(text)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        finish()
        closed = error.errno == errno.EBADF
        raise OutputLost(
            "Nothing can be printed",
            "Standard output is closed." if closed else f"Standard output: {reason(error)}.",
            "Let it go to a file or a pipe that takes it.",
        ) from error


def _put_nowhere(number: int, how: int) -> None:
    """Let what is still written to a descriptor, or waits to be, vanish."""
    nowhere = os.open(os.devnull, how)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)


class ProgressLine:
    """One line on stderr, written over and over; nothing at all where that is no terminal."""

    EVERY = 0.1

    def __init__(self) -> None:
        self.on = sys.stderr.isatty()
        """Whether there is a terminal to show it."""
        self._next = 0.0
        self._shown = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def say(self, text: str) -> None:
        """Put this in the place of what the line said before."""
        if not self.on or not text or not _is_in_front():
            return
        import time

        from rich.cells import cell_len, set_cell_size

        from llterm.core.display_text import label_text

        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self.EVERY
            text = label_text(text)
            if cell_len(text) > self.width > 0:
                # A line that wraps could not be written over.
                text = set_cell_size(text, self.width)
            if text != self._shown:
                self._shown = text
                say_drawn(f"{_ANEW}{text}")

    @property
    def width(self) -> int:
        """Cells that it has now."""
        with suppress(OSError):
            return os.get_terminal_size(sys.stderr.fileno()).columns - 1
        return shutil.get_terminal_size().columns - 1

    def warn(self, text: str) -> None:
        """Write a line that stays, wherever stderr goes."""
        self.clear()
        say(text)

    def clear(self) -> None:
        """Leave no trace of it."""
        if self._shown:
            self._shown = ""
            say_drawn(_ANEW)


def _is_in_front() -> bool:
    """Whether the terminal is this job's: one in the background would write over another's line."""
    try:
        return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
    except OSError:
        return True  # A terminal that is nobody's.
