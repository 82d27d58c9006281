"""The server on its address: it listens, serves until it is told to end, and drains.

At SIGTERM or ctrl+c no new connection is taken; open requests are given some seconds, and those
that are not done then end with an error. A second ctrl+c does not wait.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from llterm.errors import UsageError, reason
from llterm.serve.guarded_connection import guarded_connection
from llterm.serve.open_requests import OpenRequests
from llterm.serve.serve_limits import HEAD_BYTES, ServeLimits

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_BACKLOG = 256
_LAST_SECONDS = 5.0
"""After open requests were told to end."""


def listening(host: str, port: int) -> socket.socket:
    """A socket at this address. Raises UsageError where it cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(address)
            made.listen(_BACKLOG)
        except OSError:
            made.close()
            raise
    except (OSError, UnicodeError, OverflowError) as error:
        cause = reason(error) if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"{host} port {port} cannot be had", f"{cause}.", "Choose another with --port."
        ) from error
    made.setblocking(False)
    return made


@contextmanager
def listening_file(path: Path) -> Iterator[socket.socket]:
    """A socket of files that this person alone may use; the file is gone at the end.

    Raises UsageError where it cannot be had: somebody listens there, or it is no socket.
    """
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _clear(path)
        # Nobody else may come in between, not even before the mode is set.
        before = os.umask(0o177)
        try:
            made.bind(str(path))
        finally:
            os.umask(before)
        made.listen(_BACKLOG)
    except UsageError:
        made.close()
        raise
    except OSError as error:
        made.close()
        raise UsageError(
            f"{path} cannot be had", f"{reason(error)}.", "Choose another with --socket."
        ) from error
    made.setblocking(False)
    try:
        yield made
    finally:
        made.close()
        with suppress(OSError):
            path.unlink()


def _clear(path: Path) -> None:
    """Take away the socket of a server that has ended. Raises OSError, UsageError."""
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise UsageError(f"{path} is there already", "It is no socket.", "Choose another name.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise UsageError(f"{path} is in use", "A server listens there.", "Choose another name.")


class HttpServer(uvicorn.Server):
    """uvicorn's, within limits, and with an end of its own."""

    def __init__(
        self,
        app: ASGIApp,
        limits: ServeLimits,
        open_requests: OpenRequests,
        ready: Callable[[], None] = lambda: None,
        *,
        heeds_signals: bool = True,
    ) -> None:
        """`ready` is called when requests are answered. `heeds_signals`: ends by them."""
        config = uvicorn.Config(
            app,
            http=guarded_connection(limits),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=limits.connections,
            backlog=_BACKLOG,
            timeout_keep_alive=int(limits.idle_seconds),
            timeout_graceful_shutdown=int(limits.drain_seconds + _LAST_SECONDS),
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        super().__init__(config)
        self._drain_seconds = limits.drain_seconds
        self._open = open_requests
        self._ready = ready
        self._signals = _SIGNALS if heeds_signals else ()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    def end(self) -> None:
        """Take no new connections, and end what is open after a while; at once when it is said
        again."""
        if self.should_exit:
            self._open.end()
            return
        self.should_exit = True
        asyncio.get_running_loop().call_later(self._drain_seconds, self._open.end)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in self._signals:
            loop.add_signal_handler(number, self.end)
        try:
            yield
        finally:
            for number in self._signals:
                loop.remove_signal_handler(number)


@asynccontextmanager
async def answering(app: ASGIApp, at: socket.socket, limits: ServeLimits) -> AsyncIterator[None]:
    """Answer so at this socket as long as this lasts; it goes on listening after that."""
    begun = asyncio.Event()
    open_requests = OpenRequests(limits.request_seconds)
    server = HttpServer(app, limits, open_requests, begun.set, heeds_signals=False)
    serving = asyncio.create_task(server.serve(sockets=[at.dup()]))
    try:
        await begun.wait()
        yield
    finally:
        server.should_exit = True
        await serving
