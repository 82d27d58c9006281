"""What a model's process has to say: parts from any thread, as frames into the pipe."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Sequence

from llterm.serve.model_frames import (
    BrokenFrame,
    Counts,
    FromModel,
    Logged,
    NumberedPart,
    Refused,
    frame,
    utf8,
)


class ModelOutbox:
    """What is to be written. A frame goes into the pipe at once, by whichever thread it is from;
    what there is no room for the event loop writes when there is."""

    def __init__(self, out: int) -> None:
        """`out`: the pipe. On an event loop."""
        self._out = out
        os.set_blocking(out, False)
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        """Held while a frame is written, or what is left of others."""
        self._left = bytearray()
        """What the pipe had no room for."""
        self._parts: list[FromModel] = []
        """Of the event loop, for the next frame."""
        self._empty = asyncio.Event()
        self._empty.set()
        self.counts: Callable[[], Counts] | None = None
        """How the model is doing, which every frame says."""

    def put(self, part: FromModel) -> None:
        """Write this with whatever else comes up in this turn of the event loop."""
        if not self._parts:
            self._loop.call_soon(self._write_parts)
            self._empty.clear()
        self._parts.append(part)

    def write(self, parts: Sequence[FromModel]) -> None:
        """Write these as one frame now; from any thread."""
        told = parts if self.counts is None else [*parts, self.counts()]
        try:
            data = frame(told)
        except BrokenFrame:
            data = b"".join(map(_small, told))
        with self._lock:
            if self._left:
                self._left += data
                return
            written = self._into_pipe(data)
            if written < len(data):
                self._left += memoryview(data)[written:]
                self._loop.call_soon_threadsafe(self._wait_for_room)

    async def written(self) -> None:
        """Wait until nothing is left of what was put here."""
        await self._empty.wait()

    def _write_parts(self) -> None:
        parts, self._parts = self._parts, []
        self.write(parts)
        self._look()

    def _wait_for_room(self) -> None:
        self._empty.clear()
        self._loop.add_writer(self._out, self._write_left)

    def _write_left(self) -> None:
        with self._lock:
            del self._left[: self._into_pipe(self._left)]
        self._look()

    def _look(self) -> None:
        with self._lock:
            if self._left:
                return
        self._loop.remove_writer(self._out)
        if not self._parts:
            self._empty.set()

    def _into_pipe(self, data: bytes | bytearray) -> int:
        """How many bytes of it went into the pipe."""
        try:
            return os.write(self._out, data)
        except BlockingIOError:
            return 0
        except OSError:
            os._exit(1)  # Nobody is there to be told.


class OutboxLog(logging.Handler):
    """Has what is logged told with whatever else is."""

    def __init__(self, outbox: ModelOutbox) -> None:
        super().__init__(logging.ERROR)
        self._outbox = outbox

    def emit(self, record: logging.LogRecord) -> None:
        self._outbox.write([Logged(record.levelno, utf8(record.getMessage()))])


def _small(part: FromModel) -> bytes:
    """A frame of this part alone; where that is too large, of why."""
    try:
        return frame([part])
    except BrokenFrame as error:
        number = part.number if isinstance(part, NumberedPart) else 0
        return frame([Refused(number, "LltermError", "The answer is too large", f"{error}.", "")])
