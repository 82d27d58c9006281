"""The log's file. Nothing that goes wrong with it keeps llterm from its work."""

from __future__ import annotations

import logging
import os
import stat
import sys
import threading
from contextlib import suppress
from pathlib import Path

from llterm import paths

MOST = 1 << 20
"""Bytes after which the log begins anew; the one before is kept."""
_MODE = 0o600
"""Paths, addresses and what servers said are in it."""
_FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"

log = logging.getLogger(__name__)


def begin_log() -> None:
    """Let all that is logged go to the file, also faults that nothing of llterm's hears of.

    What a library has to say does not belong on the screen. The file is made with its first line.
    """
    logging.basicConfig(handlers=[LogFile(paths.log_file())], level=logging.INFO, format=_FORM)
    logging.captureWarnings(True)
    threading.excepthook = lambda fault: log.error(
        "A thread ended on this.", exc_info=fault.exc_value
    )
    sys.unraisablehook = lambda fault: log.error("%s", fault.object, exc_info=fault.exc_value)


def open_log(path: Path) -> int:
    """A descriptor that adds to the log, whose folder is made, and that a long one leaves empty.

    Where there can be no log it takes all and keeps nothing.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):
            if path.stat().st_size > MOST:
                path.replace(path.with_suffix(".log.1"))
        descriptor = os.open(path, flags, _MODE)
    except OSError:
        return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        with suppress(OSError):
            # One that an earlier llterm made may be open to others.
            os.fchmod(descriptor, _MODE)
    return descriptor


class LogFile(logging.Handler):
    """Writes each record at once and whole, beside what other processes write.

    A record that the disk does not take is lost without a word.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._descriptor: int | None = None

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if self._descriptor is None:
                self._descriptor = open_log(self._path)
            line = self.format(record) + "\n"
            os.write(self._descriptor, line.encode("utf-8", "backslashreplace"))
        except Exception:  # noqa: BLE001  (whatever it is, a log is no reason to stop)
            return

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        super().close()
