"""The server of `llterm weave --web`: textual-serve's, behind a gate and within bounds."""

from __future__ import annotations

import logging

from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.server import Server, to_int

from llterm.cli.gate import Gate
from llterm.output import put

_log = logging.getLogger(__name__)
MOST_SESSIONS = 8
"""Pages open at once. Each is a process with a model of its own."""
MOST_MESSAGE = 1 << 20
"""Bytes of one message from a page: a long paste."""
MOST_CELLS = 1000
"""Columns or rows of a page."""
_FULL = (
    f"{MOST_SESSIONS} pages of this llterm are open already, each an app of its own. "
    "Close one, then reload this page."
)


class PageServer(Server):
    """Serves the command to whom the gate lets through."""

    def __init__(self, command: str, gate: Gate, port: int) -> None:
        name = gate.host.rpartition(":")[0]
        super().__init__(command, host=name, port=port, title="llterm", public_url=gate.origin)
        self._gate = gate
        self._open: set[web.WebSocketResponse] = set()

    def serve(self, debug: bool = False) -> None:
        """Until ctrl+c. Requests are not logged: the log would hold the secret."""
        web.run_app(
            self._make_app(), host=self.host, port=self.port, access_log=None, print=self._tell
        )

    def _tell(self, _: str) -> None:
        """Said once, when it can be reached."""
        put(
            f"llterm is at {self._gate.address}\n"
            "  Whoever has this address writes with your rights. Ctrl+C ends it."
        )

    async def on_startup(self, app: web.Application) -> None:
        """Textual's own would draw a banner."""

    async def on_shutdown(self, app: web.Application) -> None:
        """End the apps; each saves first."""
        for socket in list(self._open):
            await socket.close()

    async def _make_app(self) -> web.Application:
        outer = web.Application(middlewares=[self._gate.guard])
        outer.on_response_prepare.append(self._gate.harden)
        outer.add_subapp(self._gate.place, await super()._make_app())
        return outer

    async def handle_index(self, request: web.Request) -> web.StreamResponse:
        self._refuse_more()
        return await super().handle_index(request)

    async def handle_websocket(self, request: web.Request) -> web.WebSocketResponse:
        """One app, for as long as its page is open."""
        self._refuse_more()
        socket = web.WebSocketResponse(heartbeat=15, max_msg_size=MOST_MESSAGE)
        self._open.add(socket)
        try:
            await socket.prepare(request)
            await self._run(socket, _cells(request, "width", 80), _cells(request, "height", 24))
        finally:
            self._open.discard(socket)
        return socket

    async def _run(self, socket: web.WebSocketResponse, width: int, height: int) -> None:
        async def close() -> None:
            await socket.close()

        service = AppService(
            self.command,
            write_bytes=socket.send_bytes,
            write_str=socket.send_str,
            close=close,
            download_manager=self.download_manager,
        )
        await service.start(width, height)
        try:
            await self._process_messages(socket, service)
        except (ValueError, LookupError, TypeError, AttributeError, AssertionError):
            _log.warning("A page sent what no page of llterm sends; its app is ended.")
        finally:
            await service.stop()
            # Textual's own waits for its last word only; a page is free when its app has ended.
            if service._process is not None:
                await service._process.wait()

    def _refuse_more(self) -> None:
        if len(self._open) >= MOST_SESSIONS:
            raise web.HTTPServiceUnavailable(text=_FULL)


def _cells(request: web.Request, name: str, usual: int) -> int:
    return min(max(to_int(request.query.get(name, ""), usual), 1), MOST_CELLS)
