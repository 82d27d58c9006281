"""The server as an ASGI application: the gates, and behind them the routes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from llterm.backends.remote.api_keys import Secret
from llterm.serve.api_errors import ApiError
from llterm.serve.openapi_document import openapi_document
from llterm.serve.request_counts import RequestCounts
from llterm.serve.request_gates import (
    ApiKeyGate,
    BodyGate,
    ErrorGate,
    HostGate,
    NameGate,
    OriginGate,
)
from llterm.serve.routes import HEALTH, ROUTES, WORKBENCH, send_workbench
from llterm.serve.server_route import ServerRoute, send_json
from llterm.serve.server_state import ServerState

DOCUMENT = "/openapi.json"


@dataclass(frozen=True, slots=True)
class Access:
    """Who may ask."""

    bound: str | None = "127.0.0.1"
    """The address that is listened at; None for a socket of files."""
    hosts: tuple[str, ...] = ()
    """Names that requests may go to, besides this machine's own."""
    origins: tuple[str, ...] = ()
    """Pages that may ask."""
    keys: tuple[Secret, ...] = ()
    """One of them is asked for; none: nobody is."""
    loom_keys: tuple[Secret, ...] = ()
    """One of them is asked for at looms, where there are no `keys`."""
    admin_keys: tuple[Secret, ...] = ()
    """One of them is asked for where models are loaded; none: they are not, by nobody."""


def application(state: ServerState, access: Access) -> ASGIApp:
    """Everything that the server answers."""
    routes = [
        route
        for route in ROUTES
        if (access.admin_keys or not route.admin) and (state.looms is not None or not route.looms)
    ]
    document = openapi_document(routes, keys=bool(access.keys or state.looms is not None))
    app: ASGIApp = Router(
        [
            *_paths(routes, state),
            Route(DOCUMENT, _Told(document), methods=["GET"]),
            *_other_methods(routes),
        ],
        default=_nothing_here,
        redirect_slashes=False,
    )
    app = BodyGate(app, state.rules.limits.body, state.rules.limits.head_seconds)
    # A path with a name in it is a folder here.
    admin = [path.partition("{")[0] for route in routes if route.admin for path in route.paths]
    unlocked = [path for route in routes if route.open for path in route.paths]
    looms = [path.partition("{")[0] for route in routes if route.looms for path in route.paths]
    app = ApiKeyGate(app, access.keys, access.admin_keys, admin, unlocked, access.loom_keys, looms)
    # Pages that may ask are to read errors too.
    app = ErrorGate(app, state.counts)
    app = OriginGate(app, access.origins)
    app = HostGate(app, access.bound, access.hosts)
    return NameGate(ErrorGate(app, state.counts))


def loading_application() -> ASGIApp:
    """What is answered while models are loaded."""
    counts = RequestCounts()
    return NameGate(ErrorGate(_loading, counts))


async def _loading(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] in HEALTH:
        await send_json({"status": "loading"}, send, 503)
        return
    if scope["path"] == WORKBENCH:
        # It says itself that it waits.
        await send_workbench(send)
        return
    raise ApiError(503, "The model is being loaded", "", "Ask again in a moment.",
                   kind="server_error", code="model_loading",
                   headers={"Retry-After": "1"})  # fmt: skip


def _paths(routes: Sequence[ServerRoute], state: ServerState) -> Iterator[Route]:
    for route in routes:
        for path in route.paths:
            yield Route(path, _Responder(state, route), methods=[route.method])


def _other_methods(routes: Sequence[ServerRoute]) -> Iterator[Route]:
    """What is left of the paths when the routes are through: other methods."""
    for path in (*(path for route in routes for path in route.paths), DOCUMENT):
        yield Route(path, _WrongMethod())


class _Responder:
    """One route as ASGI wants it."""

    def __init__(self, state: ServerState, route: ServerRoute) -> None:
        self._state = state
        self._respond = route.respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._respond(self._state, scope, receive, send)


class _Told:
    """The same answer to everybody."""

    def __init__(self, value: Any) -> None:
        self._value = value

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(self._value, send)


class _WrongMethod:
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise ApiError(405, f"{scope['path'][:100]} does not take {scope['method'][:20]}", "",
                       f"See {DOCUMENT}.", code="method_not_allowed")  # fmt: skip


async def _nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    raise ApiError(404, f"There is no {scope['path'][:100]}", "", f"See {DOCUMENT}.",
                   code="not_found")  # fmt: skip
