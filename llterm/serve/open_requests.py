"""Requests under way: each ends when its client leaves, its time is up, or the server is to end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Mapping
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.types import Receive, Send

from llterm.core.json_text import json_text
from llterm.serve.api_errors import ApiError, error_answer

Result = TypeVar("Result")
PING_SECONDS = 15.0
"""After which a stream that has nothing to tell says that it is still there."""
_STREAM_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


class OpenRequests:
    """All requests of a server that are under way."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: the most that one may take."""
        self._seconds = seconds
        self._ending: asyncio.Future[None] | None = None
        self.count = 0

    def end(self) -> None:
        """End all of them now, each with an error that says why."""
        ending = self._ended()
        if not ending.done():
            ending.set_result(None)

    async def finish(self, work: Coroutine[Any, Any, Result], receive: Receive) -> Result:
        """What the work gives. Raises ClientGone where the client left first, which cancels it;
        LltermError where its time is up or the server ends."""
        task = asyncio.create_task(work)
        gone = asyncio.create_task(left(receive))
        self.count += 1
        try:
            waits: set[asyncio.Future[Any]] = {task, gone, self._ended()}
            await asyncio.wait(
                waits,
                timeout=self._seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if task.done():
                return task.result()
            raise self._why(gone)
        finally:
            self.count -= 1
            await _cancelled(task)
            await _cancelled(gone)

    async def stream(
        self,
        parts: AsyncGenerator[Mapping[str, Any]],
        receive: Receive,
        send: Send,
        *,
        named: bool = False,
    ) -> None:
        """Send the parts as server-sent events as they come, then `[DONE]`. `named`: as events of
        the names that their `type` says, the last of which ends the stream.

        What goes wrong before the first part is raised, as an error with a status; later it is a
        part of its own at the end. Raises ClientGone.
        """
        stream = _NamedEventStream(send) if named else _EventStream(send)
        task = asyncio.create_task(stream.send_all(parts))
        gone = asyncio.create_task(left(receive))
        waits: set[asyncio.Future[Any]] = {task, gone, self._ended()}
        deadline = asyncio.get_running_loop().time() + self._seconds
        self.count += 1
        try:
            while not task.done():
                left_seconds = deadline - asyncio.get_running_loop().time()
                await asyncio.wait(
                    waits,
                    timeout=max(min(PING_SECONDS, left_seconds), 0),
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if gone.done() or self._ended().done() or left_seconds <= 0:
                    break
                if not task.done():
                    await stream.ping()
            error = task.exception() if task.done() else self._why(gone)
            await _cancelled(task)
            if isinstance(error, ClientGone | asyncio.CancelledError):
                raise error
            if error is not None and not stream.begun:
                raise error
            await stream.end(error)
        finally:
            self.count -= 1
            await _cancelled(task)
            await _cancelled(gone)

    def _ended(self) -> asyncio.Future[None]:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().create_future()
        return self._ending

    def _why(self, gone: asyncio.Task[None]) -> Exception:
        if gone.done():
            return ClientGone()
        if self._ended().done():
            return ApiError(
                503, "The server is ending", "It was told to.", "Try again when it is back.",
                kind="server_error", code="server_ending", headers={"Retry-After": "5"},
            )  # fmt: skip
        return ApiError(
            408, "The request took too long", f"{self._seconds:,.0f} s are the most.",
            "Ask for less at a time.", kind="server_error", code="timeout",
            headers={"x-should-retry": "false"},
        )  # fmt: skip


async def left(receive: Receive) -> None:
    """Wait until the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


class _EventStream:
    """One answer of server-sent events."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False
        self.sent = 0
        """Parts."""

    async def send_all(self, parts: AsyncGenerator[Mapping[str, Any]]) -> None:
        async with aclosing(parts):
            async for part in parts:
                await self._write(self._event(part))
                self.sent += 1

    async def ping(self) -> None:
        """A comment, which clients pass over."""
        await self._write(b": still at it\n\n")

    async def end(self, error: BaseException | None) -> None:
        if isinstance(error, Exception):
            await self._write(self._event(self._told(error)))
        await self._write(self._last, more=False)

    _last = b"data: [DONE]\n\n"

    def _event(self, part: Mapping[str, Any]) -> bytes:
        return f"data: {json_text(part, compact=True, ascii=False)}\n\n".encode()

    def _told(self, error: Exception) -> Mapping[str, Any]:
        return error_answer(error).body

    async def _write(self, data: bytes, *, more: bool = True) -> None:
        if not self.begun:
            self.begun = True
            await self._send(
                {"type": "http.response.start", "status": 200, "headers": _STREAM_HEADERS}
            )
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


class _NamedEventStream(_EventStream):
    """One whose events have names, as those of OpenAI's responses."""

    _last = b""

    def _event(self, part: Mapping[str, Any]) -> bytes:
        return f"event: {part['type']}\n".encode() + super()._event(part)

    def _told(self, error: Exception) -> Mapping[str, Any]:
        fault = error_answer(error).body["error"]
        told = {name: fault[name] for name in ("code", "message", "param")}
        return {"type": "error", "sequence_number": self.sent, **told}


async def _cancelled(task: asyncio.Task[Any]) -> None:
    """The task has ended, whatever it came to."""
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
