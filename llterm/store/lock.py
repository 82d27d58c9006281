"""The lock that keeps a second llterm from writing to a loom."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from llterm.errors import UsageError, reason

PATIENCE = 2.0
"""Seconds in which an llterm that was told to end, or killed, is gone."""
_PAUSE = 0.02
_JOURNAL = "-journal"
"""What SQLite appends to a loom's name, beside it."""


class Lock:
    """A handle on the file, whose lock ends with the process however it ends."""

    def __init__(
        self,
        path: Path,
        *,
        new: bool = False,
        reading: bool = False,
        waiting: Callable[[str], None] | None = None,
    ) -> None:
        """Open, or with `new` make, the file. Raises UsageError where that cannot be.

        `reading`: the lock itself is left to others until it is asked for (`take`).
        Another llterm that was just ended or killed holds the lock until it is gone. Given
        `waiting` it gets up to PATIENCE seconds, and `waiting` is told once what is awaited.
        """
        self.path = path
        self._waiting = waiting
        self.notice = ""
        """Why the file can only be read; empty when it can be written."""
        self.held = False
        """Whether that is so because somebody has it open: this llterm or another."""
        self._handle = self._opened(new)
        self._writable = not self.notice
        if reading:
            self.notice = self.notice or self._only_read
        else:
            self.take()

    def take(self) -> bool:
        """Ask for the lock. Returns whether the file can be written now; `notice` says why not."""
        if not self._writable:
            return False
        self.notice, self.held = "", False
        with suppress(OSError):  # A file system without locks: better unguarded than unwritable.
            if not self._got(self._handle):
                self.held = True
                self.notice = f"Another llterm has {self.path.name} open; here it can only be read."
        if not os.access(self.path.parent, os.W_OK):
            self.notice = self.notice or (
                f"The folder of {self.path.name} may not be written; the loom can only be read."
            )
        return not self.notice

    def release(self) -> None:
        """Give the lock back: another llterm may write from now on, and here it is only read."""
        with suppress(OSError):
            fcntl.flock(self._handle, fcntl.LOCK_UN)
        self.notice = self._only_read

    def check(self) -> None:
        """Raise OSError where the file is not what its path names any more: nothing written to it
        would be found again."""
        there = self.path.stat()
        if not os.path.samestat(there, os.fstat(self._handle)):
            raise OSError(errno.ESTALE, "another file is in its place", str(self.path))

    def close(self) -> None:
        os.close(self._handle)

    @property
    def _only_read(self) -> str:
        return f"{self.path.name} is only read here, until something is written."

    def _opened(self, new: bool) -> int:
        flags = os.O_RDWR | (os.O_CREAT | os.O_EXCL if new else 0)
        try:
            if not new and not stat.S_ISREG(self.path.stat().st_mode):
                raise self._no_file()
            check_name(self.path)
            return os.open(self.path, flags, 0o600)
        except FileExistsError as error:
            raise taken(self.path) from error
        except PermissionError as error:
            if new:
                raise unopened(self.path, error) from error
            return self._readable()
        except OSError as error:
            if not new and error.errno == errno.EROFS:
                return self._readable()
            raise unopened(self.path, error) from error

    def _got(self, handle: int) -> bool:
        """Whether the lock is ours, at last. Raises OSError where there are no locks."""
        until = time.monotonic() + PATIENCE
        announced = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            except BlockingIOError:
                if self._waiting is None:
                    return False
            if not announced:
                self._waiting(f"Another llterm has {self.path.name} open; waiting for it to end.")
                announced = True
            if time.monotonic() > until:
                return False
            time.sleep(_PAUSE)

    def _readable(self) -> int:
        self.notice = f"{self.path.name} may not be written; it can only be read."
        try:
            return os.open(self.path, os.O_RDONLY)
        except OSError as error:
            raise unopened(self.path, error) from error

    def _no_file(self) -> UsageError:
        what = "a folder" if self.path.is_dir() else "no ordinary file"
        return UsageError(f"{self.path} is {what}", "", "Name a .loom file.")


def check_name(path: Path) -> None:
    """Raise OSError where a loom's name leaves no room for its journal's: SQLite would say that the
    disk is at fault."""
    Path(f"{path}{_JOURNAL}").exists()


def taken(path: Path) -> UsageError:
    """A loom is to be made where something is already."""
    hint = "Open it without importing, or choose another name."
    return UsageError(f"{path.name} exists already", "", hint)


def unopened(path: Path, error: OSError) -> UsageError:
    """The system refused the file."""
    return UsageError(
        f"{path.name} could not be opened",
        f"{path}: {reason(error)}.",
        "Check the path and the folder's permissions.",
    )
