"""How often each token stands among the newest of a text that grows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from llterm.core.distribution import Reals
from llterm.core.logit_rows import Integers

_ROOM = 64


class TokenCounts:
    """Counts that are kept from one token to the next: a text may be long, and is counted once."""

    def __init__(self, tokens: Iterable[int], newest: int) -> None:
        """Of that many newest tokens, of all where it is negative."""
        self._newest = newest
        self._window: deque[int] = deque()
        self._places: dict[int, int] = {}
        self._ids = np.empty(_ROOM, np.int64)
        self._times = np.empty(_ROOM)
        for id in tokens:
            self.add(id)

    @property
    def ids(self) -> Integers:
        """Those that stand there, each once, in no order; shape (n,)."""
        return self._ids[: len(self._places)]

    @property
    def times(self) -> Reals:
        """How often each of them does, shape (n,)."""
        return self._times[: len(self._places)]

    def add(self, id: int) -> None:
        """Another token, which is the newest now."""
        if not self._newest:
            return
        place = self._places.get(id)
        if place is None:
            place = self._places[id] = len(self._places)
            if place == len(self._ids):
                self._ids = np.concatenate([self._ids, self._ids])
                self._times = np.concatenate([self._times, self._times])
            self._ids[place], self._times[place] = id, 0
        self._times[place] += 1
        if self._newest > 0:
            self._window.append(id)
            if len(self._window) > self._newest:
                self._remove(self._window.popleft())

    def _remove(self, id: int) -> None:
        place = self._places[id]
        self._times[place] -= 1
        if not self._times[place]:
            del self._places[id]
            last = len(self._places)
            if place < last:
                moved = int(self._ids[last])
                self._places[moved] = place
                self._ids[place], self._times[place] = moved, self._times[last]
