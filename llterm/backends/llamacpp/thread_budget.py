"""Several models in one process share its cores: decodes wait until their threads are free.

Each context is made with threads for all cores but one. Two that decode at the same time would have
twice as many workers as cores, and they wait for each other at every barrier; in turn, each is as
fast as alone and the last core stays free for the app. With fewer threads a model (`--threads`) as
many decode at once as there is room for.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from llterm.errors import UsageError

CORES = os.cpu_count() or 2
_room = max(CORES - 1, 1)
_changed = threading.Condition()
_used = 0


def thread_count(asked: int | None) -> int:
    """Threads that work for a decode; unset: one core is left to the app.

    Raises UsageError for more than there are cores: they would wait for each other at every
    barrier, and 1,024 on two cores never come back.
    """
    if asked is not None and asked > CORES:
        raise UsageError(
            f"{asked:,} threads are too many",
            f"This machine has {CORES} processor cores; threads beyond them only wait.",
            f"Set threads to {CORES} at most, with --threads or in llterm.toml.",
        )
    return asked or _room


@contextmanager
def reserved(threads: int) -> Iterator[None]:
    """Hold this many cores; waits until they are free, or nobody else holds any."""
    global _used
    with _changed:
        _changed.wait_for(lambda: not _used or _used + threads <= _room)
        _used += threads
    try:
        yield
    finally:
        with _changed:
            _used -= threads
            _changed.notify_all()
