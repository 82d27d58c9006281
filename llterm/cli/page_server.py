"""The server of `llterm weave --web`: textual-serve's, behind a gate and within bounds.

Any program of this machine can talk to a local port, other people's too, and any site's page can
try. So the address holds a secret; the page takes it out of the address at once and keeps it in a
cookie, which the browser sends to this place of this server alone. A socket must come from the
page as well, since what it carries is obeyed.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web
from textual_serve.app_service import AppService
from textual_serve.server import Server, to_int

from llterm.output import put

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
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

COOKIE = "llterm"
_CLOSED = (
    "llterm answers whoever has the address that it printed when it was started, on this machine "
    "only. Open that address, or start `llterm weave --web` again."
)


@dataclass(frozen=True, slots=True)
class Gate:
    """The secret of one run, and what it is good for."""

    host: str
    """Name and port, as a browser names them."""
    place: str = field(default_factory=lambda: f"/{secrets.token_urlsafe(16)}")
    """Where everything lies. A cookie is sent to every port of a machine, and to this path only."""
    _secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    @property
    def address(self) -> str:
        """What the person opens; it holds the secret."""
        return f"{self.origin}{self.place}/?token={self._secret}"

    @web.middleware
    async def guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer whoever may be answered; tell everybody else the same."""
        if request.host != self.host or not request.path.startswith(f"{self.place}/"):
            raise web.HTTPForbidden(text=_CLOSED)
        origin = request.headers.get("Origin", "")
        socket = request.headers.get("Upgrade", "").lower() == "websocket"
        if origin != self.origin and (origin or socket or request.method != "GET"):
            raise web.HTTPForbidden(text=_CLOSED)
        if "token" in request.query:
            self._check(request.query["token"])
            answer = web.HTTPSeeOther(f"{self.place}/")
            answer.set_cookie(
                COOKIE, self._secret, path=self.place, httponly=True, samesite="Strict"
            )
            raise answer
        self._check(request.cookies.get(COOKIE, ""))
        return await handler(request)

    async def harden(self, request: web.Request, answer: web.StreamResponse) -> None:
        """What every answer says, refusals too: nobody frames it, keeps it or hears of it."""
        answer.headers.update(
            {
                # The page would ask another site for its letters.
                "Content-Security-Policy": "default-src 'self' 'unsafe-inline' data:; "
                f"connect-src 'self' ws://{self.host}; frame-ancestors 'none'; "
                "base-uri 'none'; form-action 'none'",
                "Cross-Origin-Opener-Policy": "same-origin",
                "Cross-Origin-Resource-Policy": "same-origin",
                "Referrer-Policy": "no-referrer",
                "X-Content-Type-Options": "nosniff",
                "X-Frame-Options": "DENY",
                "Cache-Control": "no-store",
            }
        )

    def _check(self, given: str) -> None:
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self._secret.encode()):
            raise web.HTTPForbidden(text=_CLOSED)


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
