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

_room = max((os.cpu_count() or 2) - 1, 1)
_changed = threading.Condition()
_used = 0


@contextmanager
def taken(threads: int) -> Iterator[None]:
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
