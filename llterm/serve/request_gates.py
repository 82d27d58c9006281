"""What a request has to pass before any route sees it; pure ASGI, in the order of this file.

Refusals are answers of their own: nothing that comes later is asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import re
import secrets
import socket
from collections.abc import Awaitable, Collection, Sequence
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llterm.backends.remote.api_keys import Secret
from llterm.serve.api_errors import ApiError, ErrorAnswer, error_answer
from llterm.serve.open_requests import ClientGone
from llterm.serve.request_counts import RequestCounts

WITH_BODY = ("POST", "PATCH", "PUT")
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_JSON = re.compile(r"application/json\s*(;.*)?", re.IGNORECASE)
_FOR_BROWSERS = {
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": (
        "Authorization, Content-Type, If-Match, X-Api-Key, X-Request-Id"
    ),
    "Access-Control-Max-Age": "600",
    "Access-Control-Expose-Headers": "ETag, X-Request-Id",
}
_HEADERS = re.compile(r"[A-Za-z0-9-]+(, ?[A-Za-z0-9-]+)*")
_MOST_READ_AWAY = 64 << 20
_READ_AWAY_SECONDS = 5.0
"""Bytes and time that a body may take whose request is refused already."""
WHOSE = "llterm.whose"
"""Where a scope says who asks: no key, a short form of its digest."""


class NameGate:
    """Names every request, and says of every answer that it is nobody else's."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = Headers(scope=scope).get("x-request-id", "")
        name = given if _ID.fullmatch(given) else f"req-{secrets.token_hex(12)}"

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = name
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, named)


class ErrorGate:
    """Turns whatever is raised into an answer, and lets a client that is still sending read it."""

    def __init__(self, app: ASGIApp, counts: RequestCounts) -> None:
        self._app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False
        sending = scope["method"] in WITH_BODY and "expect" not in Headers(scope=scope)

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        async def body() -> Message:
            nonlocal sending
            message = await receive()
            sending = sending and message.get("more_body", False)
            return message

        try:
            await self._app(scope, body, noted)
        except ClientGone:
            return
        except Exception as error:  # noqa: BLE001  (a client is told of any, in the shape it reads)
            self._counts.errors += 1
            answer = error_answer(error)
            if not begun:
                await send_answer(answer, send, _read_away(body) if sending else None)


async def _read_away(receive: Receive) -> None:
    """Take the rest of a body that nobody wants: a connection that is closed before is a reset to
    its client, which takes the answer with it."""
    size = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(_READ_AWAY_SECONDS):
            while size < _MOST_READ_AWAY:
                message = await receive()
                size += len(message.get("body", b""))
                if not message.get("more_body"):
                    return


async def send_answer(
    answer: ErrorAnswer, send: Send, before_end: Awaitable[None] | None = None
) -> None:
    """An error's answer, whole; its end comes after what is awaited before."""
    headers = {"content-type": "application/json", "content-length": str(len(answer.json))}
    headers |= {name.lower(): value for name, value in answer.headers.items()}
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": answer.json, "more_body": True})
    if before_end is not None:
        await before_end
    await send({"type": "http.response.body", "body": b""})


class HostGate:
    """Refuses requests for other hosts: a page whose name was rebound to this machine's address
    sends its own."""

    def __init__(self, app: ASGIApp, bound: str | None, allowed: Collection[str]) -> None:
        """`bound`: the address that is listened at; None for a socket of files, which no page
        reaches."""
        self._app = app
        self._bound = bound
        names = {"localhost", *(name.lower().strip("[]") for name in allowed)}
        self._addresses = bound is not None and _is_unspecified(bound)
        if bound is not None:
            names.add(bound.lower())
        if self._addresses:
            names.add(socket.gethostname().lower())
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._bound is not None:
            host = Headers(scope=scope).get("host", "")
            if not self._is_ours(_without_port(host)):
                raise ApiError(
                    403,
                    "This host is not served here",
                    "The Host header names another one.",
                    "Use the address that the server printed, or start it with --allow-host.",
                    code="host_not_allowed",
                )
        await self._app(scope, receive, send)

    def _is_ours(self, name: str) -> bool:
        if name in self._names:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        # Whoever names an address went there by no name that could have been rebound.
        return address.is_loopback or self._addresses


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower().removesuffix(".")


def _is_unspecified(bound: str) -> bool:
    try:
        return ipaddress.ip_address(bound).is_unspecified
    except ValueError:
        return False


class OriginGate:
    """Refuses pages of other origins than the listed ones, which are told that they may, and this
    server's own. A browser that asks first for any other is given no leave, by which it refuses.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self._app = app
        self._allowed = frozenset(origin.rstrip("/") for origin in allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        # The host is one of ours: HostGate has let it pass.
        own = [f"{scheme}://{headers.get('host')}" for scheme in ("http", "https")]
        if origin is None or origin in own:
            await self._app(scope, receive, send)
            return
        asks_first = scope["method"] == "OPTIONS" and "access-control-request-method" in headers
        if origin not in self._allowed:
            if asks_first:
                await _say_nothing(send)
                return
            raise ApiError(
                403,
                "Pages of this origin may not ask here",
                "The Origin header names none of those that are allowed.",
                "Start the server with --allow-origin.",
                code="origin_not_allowed",
            )

        # Clients in pages send headers of their own, such as `X-Stainless-Lang`.
        asked = headers.get("access-control-request-headers", "")

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = MutableHeaders(scope=message)
                answer["Access-Control-Allow-Origin"] = origin
                answer["Vary"] = "Origin"
                for name, value in _FOR_BROWSERS.items():
                    answer[name] = value
                if _HEADERS.fullmatch(asked):
                    answer["Access-Control-Allow-Headers"] = asked
            await send(message)

        if asks_first:
            await _say_nothing(told)
        else:
            await self._app(scope, receive, told)


async def _say_nothing(send: Send) -> None:
    """What a browser that asks first needs are headers alone."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class ApiKeyGate:
    """Asks for one of the keys, where there are any, but not at an open path; at an operator's path
    for one of theirs."""

    def __init__(
        self,
        app: ASGIApp,
        keys: Sequence[Secret],
        admin_keys: Sequence[Secret] = (),
        admin_paths: Collection[str] = (),
        open_paths: Collection[str] = (),
        loom_keys: Sequence[Secret] = (),
        loom_paths: Collection[str] = (),
    ) -> None:
        """`admin_paths`, `loom_paths`: each, and what begins with one that ends with a slash. At
        the latter one of the keys is asked for in any case, `loom_keys` where there are none."""
        self._app = app
        self._keys = keys
        self._admin_keys = admin_keys
        self._admin_paths = frozenset(admin_paths)
        self._admin_folders = tuple(path for path in admin_paths if path.endswith("/"))
        self._open_paths = frozenset(open_paths)
        self._loom_keys = keys or loom_keys
        self._loom_paths = frozenset(loom_paths)
        self._loom_folders = tuple(path for path in loom_paths if path.endswith("/"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        is_admin = path in self._admin_paths or path.startswith(self._admin_folders)
        of_looms = path in self._loom_paths or path.startswith(self._loom_folders)
        keys = self._admin_keys if is_admin else self._loom_keys if of_looms else self._keys
        if (keys or of_looms) and path not in self._open_paths:
            headers = Headers(scope=scope)
            kind, _, bearer = headers.get("authorization", "").partition(" ")
            given = bearer.strip() if kind.lower() == "bearer" else headers.get("x-api-key", "")
            # All are compared, so that the time does not tell which one it was.
            right = [key.is_same(given) for key in keys]
            if not any(right):
                raise ApiError(
                    401,
                    "The key is missing or wrong",
                    "An operator's is asked for here." if is_admin else "This server asks for one.",
                    "Send it as Authorization: Bearer KEY, or as X-Api-Key.",
                    kind="authentication_error",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            scope[WHOSE] = hashlib.sha256(given.encode()).hexdigest()[:16]
        await self._app(scope, receive, send)


class BodyGate:
    """Takes bodies of JSON alone, up to a size, and as long as they keep coming."""

    def __init__(self, app: ASGIApp, most: int, seconds: float) -> None:
        """`seconds`: between two parts of a body."""
        self._app = app
        self._most = most
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in WITH_BODY:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not _JSON.fullmatch(headers.get("content-type", "")):
            # A page may send any other kind without asking first.
            raise ApiError(
                415, "The body is not said to be JSON", "",
                "Send the header Content-Type: application/json.", code="unsupported_media_type",
            )  # fmt: skip
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise ApiError(415, "The body is compressed", "", "Send it as it is.",
                           code="unsupported_encoding")  # fmt: skip
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 18 or int(length) > self._most:
            raise self._too_large()
        body = await self._read(receive)
        given = False

        async def whole() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, whole, send)

    async def _read(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            try:
                async with asyncio.timeout(self._seconds):
                    message = await receive()
            except TimeoutError:
                raise ApiError(
                    408, "The body did not come", f"{self._seconds:g} s passed without a part.",
                    code="timeout", headers={"Connection": "close"},
                ) from None  # fmt: skip
            if message["type"] == "http.disconnect":
                raise ClientGone
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > self._most:
                raise self._too_large()
            if not message.get("more_body"):
                return b"".join(parts)

    def _too_large(self) -> ApiError:
        return ApiError(
            413, "The body is too large", f"{self._most:,} bytes are the most.",
            "Send less at a time.", code="body_too_large", headers={"Connection": "close"},
        )  # fmt: skip
