"""`llterm weave --web`: the app in a browser on this machine, through textual-serve."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import Any

from llterm.errors import CapabilityMissing, UsageError

HOST = "127.0.0.1"
"""Nothing else: whoever reaches the page writes with the person's rights."""


def serve(arguments: Sequence[str], port: int) -> int:
    """Serve `llterm` with these arguments until ctrl+c; the exit code.

    Each page that is opened is an app of its own.
    """
    try:
        from textual_serve.server import Server
    except ImportError as error:
        raise CapabilityMissing(
            "The app cannot be served to a browser",
            "The package textual-serve is not installed.",
            "pipx inject llterm textual-serve, or pip install 'llterm[web]'.",
        ) from error
    if not 0 < port < 65536:
        raise UsageError(f"There is no port {port}", "", "Ports go from 1 to 65535.")
    _refuse_taken(port)
    command = shlex.join([sys.executable, "-m", "llterm", *arguments])

    class Own(Server):
        """Answers this machine's own pages only: any page may try to talk to a local port."""

        async def _make_app(self) -> Any:
            app = await super()._make_app()
            app.middlewares.append(guard(port))
            return app

    Own(command, host=HOST, port=port, title="llterm").serve()
    return 0


def guard(port: int) -> Any:
    """Refuses requests under another name than this machine's, and from other sites' pages."""
    from aiohttp import web

    names = {f"{name}:{port}" for name in (HOST, "localhost")}
    origins = {f"http://{name}" for name in names}

    @web.middleware  # type: ignore[untyped-decorator, unused-ignore]
    async def own_pages(request: Any, handler: Any) -> Any:
        if request.host not in names or request.headers.get("Origin", "") not in {"", *origins}:
            raise web.HTTPForbidden(text="llterm answers its own page on this machine only.")
        response = await handler(request)
        if not response.prepared:
            # The page would ask another site for its letters.
            response.headers["Content-Security-Policy"] = (
                f"default-src 'self' 'unsafe-inline' data:; connect-src 'self' ws://{request.host}"
            )
        return response

    return own_pages


def without_web(arguments: Sequence[str]) -> list[str]:
    """The typed words less those about the browser."""
    found: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word == "--web" or word.startswith("--port="):
            continue
        if word == "--port":
            next(rest, None)
            continue
        found.append(word)
    return found


def _refuse_taken(port: int) -> None:
    """Say it before the server does, in a traceback."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise UsageError(
                f"Port {port} cannot be had", f"{error.strerror}.", "Choose another with --port."
            ) from error
