"""Processes of llterm's own beside it: how they are begun, and that they end with it."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

_PROGRAM = "import sys; sys.path.append(sys.argv.pop(1)); from {0} import main; sys.exit(main())"
"""Finds this very llterm, whatever way it was started."""


def command(module: str, *arguments: str) -> list[str]:
    """Begins a process that runs `main` of a module of llterm's, which sees the arguments."""
    # -P: nothing of the working directory is taken for a module.
    root = str(Path(__file__).parents[1])
    return [sys.executable, "-P", "-c", _PROGRAM.format(module), root, *arguments]


def end_with_the_parent() -> None:
    """End this process when the one that began it has, which holds the other end of stdin."""
    threading.Thread(target=_wait_and_end, daemon=True).start()


def _wait_and_end() -> None:
    os.read(0, 1)
    os._exit(1)
