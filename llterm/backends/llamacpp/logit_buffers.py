"""Copies of a decode's logits, in memory that is used again once nobody reads them any more.

A fresh copy of 128 rows of 262,144 numbers is 128 MiB that the system hands out zeroed, page by
page.
"""

from __future__ import annotations

import weakref
from collections import deque

import numpy as np
from numpy.typing import NDArray

SPARE = 2
"""Free buffers that are kept: one is filled while one is read."""


class LogitBuffers:
    """Gives out arrays; each comes back by itself with the last reference to it or a part of it."""

    def __init__(self) -> None:
        self._free: deque[NDArray[np.float32]] = deque(maxlen=SPARE)

    def copy(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """A copy, of the same shape, that nothing writes to while it can be reached."""
        buffer = self._taken(logits.size)
        # Views refer to the array below them as far as that is memory of numpy's own: through a
        # memoryview this one stays between them and the buffer, and its end is theirs.
        lent = np.frombuffer(buffer.data, np.float32, logits.size)
        weakref.finalize(lent, self._free.append, buffer).atexit = False
        rows = lent.reshape(logits.shape)
        np.copyto(rows, logits)
        return rows

    def _taken(self, count: int) -> NDArray[np.float32]:
        """A free buffer with this much room, or a new one."""
        try:
            buffer = self._free.popleft()
        except IndexError:  # The last may come back on another thread.
            return np.empty(count, np.float32)
        return buffer if buffer.size >= count else np.empty(count, np.float32)
