"""A server that does what a test tells it, fault by fault: plain asyncio on 127.0.0.1.

    async with FaultyServer(status(503), reply({"ok": 1})) as server:

does the first thing for the first request, the second for the second, and the last for all others.
"""

from __future__ import annotations

import asyncio
import json
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from llterm.backends.remote.http_transport import HttpTransport


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    reader: StreamReader

    @property
    def data(self) -> Any:
        return json.loads(self.body)


Step = Callable[[Request, StreamWriter], Awaitable[None]]


class FaultyServer:
    """Counts what it is asked, and what was still being answered when a client left."""

    def __init__(self, *script: Step) -> None:
        self._script = list(script)
        self._port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests: list[Request] = []
        self.connections = 0
        self.left = asyncio.Event()
        """Set when a client closed its connection during `hang`."""
        self._more = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def then(self, *script: Step) -> None:
        """From now on this."""
        self._script = list(script)

    async def until(self, count: int) -> None:
        """Wait until so many requests have come in."""
        while len(self.requests) < count:
            self._more.clear()
            await self._more.wait()

    async def start(self) -> None:
        """On the same port as before, where there was one."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """As a killed process: nobody listens, every connection is cut."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._server.wait_closed()

    async def __aenter__(self) -> FaultyServer:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        await self.stop()

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while request := await _request(reader, writer):
                self.requests.append(request)
                self._more.set()
                step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
                await step(request, writer)
                await writer.drain()
                if writer.is_closing():
                    return
        except Left:
            self.left.set()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


class Left(Exception):
    """The client closed its connection."""


async def _request(reader: StreamReader, writer: StreamWriter) -> Request | None:
    first = await reader.read(1)
    if first == b"\x16":
        # The beginning of TLS, which is no HTTP.
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
    if first in (b"", b"\x16"):
        return None
    head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()
    method, path, _ = head[0].split(" ")
    pairs = (line.partition(": ") for line in head[1:] if line)
    headers = {name.lower(): value for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, path, headers, body, reader)


def reply(data: Any, status: int = 200, **headers: str) -> Step:
    """JSON."""
    return whole(json.dumps(data).encode(), status, content_type="application/json", **headers)


def whole(body: bytes, status: int = 200, **headers: str) -> Step:
    """A complete answer with this body."""
    lines = [f"HTTP/1.1 {status} Some Words", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def raw(data: bytes, *, close: bool = False) -> Step:
    """These very bytes; `close`: and the end of the connection."""

    async def step(request: Request, writer: StreamWriter) -> None:
        writer.write(data)
        if close:
            await writer.drain()
            writer.close()

    return step


def status(code: int, words: str = "Some reason", **headers: str) -> Step:
    """An error as llama.cpp and OpenAI word it."""
    return reply({"error": {"code": code, "message": words}}, code, **headers)


def loading() -> Step:
    """A llama.cpp server that is not ready."""
    return status(503, "Loading model")


def redirect(target: str, code: int = 307) -> Step:
    return whole(b"", code, Location=target)


def cut(after: bytes = b"") -> Step:
    """The connection is reset, when these bytes have gone out."""

    async def step(request: Request, writer: StreamWriter) -> None:
        writer.write(after)
        await writer.drain()
        writer.transport.abort()
        raise ConnectionResetError

    return step


def hang(before: bytes = b"") -> Step:
    """These bytes, then nothing until the client leaves."""

    async def step(request: Request, writer: StreamWriter) -> None:
        writer.write(before)
        with suppress(ConnectionError):
            await request.reader.read(1)
        raise Left

    return step


def drip(piece: bytes, after: bytes = b"") -> Step:
    """A piece at a time, without end, as fast as the client takes them."""

    async def step(request: Request, writer: StreamWriter) -> None:
        writer.write(after)
        try:
            while not request.reader.at_eof():
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.001)
        except ConnectionError:
            pass
        raise Left

    return step


def events(*data: Any, done: bool = True, end: bool = True) -> bytes:
    """Server-sent events with the head of their answer; without `end` there is more to come."""
    lines = [f"data: {json.dumps(one)}\n\n" for one in data] + ["data: [DONE]\n\n"] * done
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
        + b"".join(chunk(line.encode()) for line in lines)
        + chunk(b"") * end
    )


def chunk(data: bytes) -> bytes:
    """A piece of an answer whose length is not told before."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def held(gate: asyncio.Event, step: Step) -> Step:
    """Not before the gate opens."""

    async def wait(request: Request, writer: StreamWriter) -> None:
        await gate.wait()
        await step(request, writer)

    return wait


async def collected(stream: AsyncGenerator[Any], into: list[Any]) -> None:
    """Every event of a stream, also where it fails later."""
    async for event in stream:
        into.append(event)


MakeWire = Callable[..., HttpTransport]
