"""A pseudo-terminal at the end of a slow line: what goes over it arrives late, and in bursts."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.helpers.terminal import Terminal

_TURN = 0.01
"""Seconds between two looks at what has arrived."""


class DelayedTerminal(Terminal):
    """Holds keys and answers back. Keys that arrive together are one write."""

    def __init__(
        self,
        command: Sequence[str],
        latency: float,
        seed: int,
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """`latency`: seconds there, and as many back; `seed`: of how keys come together."""
        self._latency = latency
        self._random = random.Random(seed)
        self._there: deque[tuple[float, bytes]] = deque()
        self._back: deque[tuple[float, bytes]] = deque()
        self._next = 0.0
        """When the line delivers again."""
        super().__init__(command, env=env, cwd=cwd)

    def send(self, keys: str | bytes) -> None:
        data = keys.encode() if isinstance(keys, str) else keys
        self._there.append((time.monotonic() + self._latency, data))

    def read(self, seconds: float = 0.05) -> bytes:
        until, shown = time.monotonic() + seconds, b""
        while True:
            self._deliver()
            if data := self.take(_TURN):
                self._back.append((time.monotonic() + self._latency, data))
            while self._back and self._back[0][0] <= time.monotonic():
                shown += self._back[0][1]
                self.show(self._back.popleft()[1])
            if shown or time.monotonic() >= until:
                return shown

    def _deliver(self) -> None:
        now, arrived = time.monotonic(), b""
        if now < self._next:
            return
        self._next = now + self._random.uniform(0, self._latency)
        while self._there and self._there[0][0] <= now:
            arrived += self._there.popleft()[1]
        if arrived:
            super().send(arrived)
