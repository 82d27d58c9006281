"""Processes of llterm's own beside it: how they are begun, and that they end with it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from pathlib import Path

_PROGRAM = "import sys; sys.path.append(sys.argv.pop(1)); from {0} import main; sys.exit(main())"
"""Finds this very llterm, whatever way it was started."""
_END_WITH_PARENT = 1
"""`PR_SET_PDEATHSIG` of Linux's `prctl`."""


def command(module: str, *arguments: str) -> list[str]:
    """Begins a process that runs `main` of a module of llterm's, which sees the arguments."""
    # -P: nothing of the working directory is taken for a module.
    root = str(Path(__file__).parents[1])
    return [sys.executable, "-P", "-c", _PROGRAM.format(module), root, *arguments]


def end_with_the_parent() -> None:
    """End this process when the one that began it has, which holds the other end of stdin."""
    threading.Thread(target=_wait_and_end, daemon=True).start()


def end_if_the_parent_does() -> None:
    """The same for a process that reads its stdin, and ends where that does: the system ends it,
    where it can be asked to, whatever it is doing then."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL)


def _wait_and_end() -> None:
    os.read(0, 1)
    os._exit(1)
