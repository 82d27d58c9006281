"""Who may reach the served app: whoever has the secret of its address, from its own page.

Any program of this machine can talk to a local port, other people's too, and any site's page can
try. So the address holds a secret; the page takes it out of the address at once and keeps it in a
cookie, which the browser sends to this place of this server alone. A socket must come from the
page as well, since what it carries is obeyed.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
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
