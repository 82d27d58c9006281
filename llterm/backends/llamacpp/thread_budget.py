"""Several models in one process share its cores: decodes wait until their threads are free.

Each context is made with threads for all cores but one. Two that decode at the same time would have
twice as many workers as cores, and they wait for each other at every barrier; in turn, each is as
fast as alone and the last core stays free for the app. With fewer threads a model (`--threads`) as
many decode at once as there is room for.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from llterm.errors import UsageError
from llterm.usable_cores import usable_cores

CORES = usable_cores()


class CoreTurns:
    """Who decodes on how many threads, and who waits. Without a lock of its own.

    Who asked first goes first: a thread that decodes without a pause would otherwise have the cores
    again before a waiting one wakes up.
    """

    def __init__(self, room: int) -> None:
        """`room`: threads that may run at once."""
        self.room = room
        self._used: dict[object, int] = {}
        self._asking: deque[tuple[object, int]] = deque()

    def ask(self, place: object, threads: int) -> None:
        """Let it wait for its turn."""
        self._asking.append((place, threads))

    def begin(self, place: object) -> bool:
        """Whether its turn has come; it has the cores then. More than there are it has alone."""
        first, threads = self._asking[0]
        if place is not first or (self._used and self.used + threads > self.room):
            return False
        self._asking.popleft()
        self._used[place] = threads
        return True

    def leave(self, place: object) -> None:
        """It has decoded, or waits no more."""
        self._used.pop(place, None)
        self._asking = deque(each for each in self._asking if each[0] is not place)

    @property
    def busy(self) -> bool:
        """Whether somebody decodes or waits for it."""
        return bool(self._used or self._asking)

    @property
    def used(self) -> int:
        """Threads that run."""
        return sum(self._used.values())


_turns = CoreTurns(max(CORES - 1, 1))
_changed = threading.Condition()


def thread_count(asked: int | None) -> int:
    """Threads that work for a decode; unset: one core is left to the app.

    Raises UsageError for more than there are cores: they would wait for each other at every
    barrier, and 1,024 on two cores never come back.
    """
    if asked is not None and asked > CORES:
        raise UsageError(
            f"{asked:,} threads are too many",
            f"llterm may use {CORES} processor cores here; threads beyond them only wait.",
            f"Set threads to {CORES} at most, with --threads or in llterm.toml.",
        )
    return asked or _turns.room


def limit(cores: int) -> None:
    """Take so many cores for all that there are for decodes: others have the rest."""
    _turns.room = max(min(cores, _turns.room), 1)


def contended() -> bool:
    """Whether somebody decodes or waits for it."""
    with _changed:
        return _turns.busy


@contextmanager
def reserved(threads: int) -> Iterator[None]:
    """Hold this many cores; waits until they are free, or nobody else holds any."""
    place = object()
    try:
        with _changed:
            _turns.ask(place, threads)
            _changed.wait_for(lambda: _turns.begin(place))
            # There may be room for the next one too.
            _changed.notify_all()
        yield
    finally:
        with _changed:
            _turns.leave(place)
            _changed.notify_all()
