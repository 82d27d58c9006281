"""Texts cut into tokens beside the event loop."""

from __future__ import annotations

import asyncio
import threading

from llterm.core.tokens import EncodesHere, Tail


class Watched(EncodesHere):
    """Counts the texts that are cut at once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = 0
        self.most = 0
        self.threads: set[int] = set()

    def encode(self, data: bytes) -> Tail:
        with self._lock:
            self._now += 1
            self.most = max(self.most, self._now)
        self.threads.add(threading.get_ident())
        tokens = tuple(data)
        with self._lock:
            self._now -= 1
        return tokens


async def test_texts_are_cut_one_at_a_time_and_small_ones_do_not_wait_for_large_ones() -> None:
    watched = Watched()
    for text in (b"ab", b"a" * (1 << 20)):
        cut = await asyncio.gather(*(watched.tokenize(text) for _ in range(6)))
        assert cut == [tuple(text)] * 6
        assert watched.most == 1
    assert len(watched.threads) == 2
