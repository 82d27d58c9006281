"""One route of the server, and the ways of reading and answering that routes share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from starlette.types import Receive, Scope, Send

from llterm.core.json_text import json_text
from llterm.serve.server_state import ServerState

Method = Literal["GET", "POST", "PATCH", "DELETE"]
Respond = Callable[[ServerState, Scope, Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ServerRoute:
    """One route."""

    paths: tuple[str, ...]
    """The first is its name; the others are what other servers call it."""
    method: Method
    summary: str
    respond: Respond
    body: Any = None
    """A type, or a union of such."""
    kind: str = "application/json"
    """Of its answer."""
    lists: bool = False
    """What asks for several texts has a list of answers."""
    admin: bool = False
    """Asks for an operator's key, and is not there where none is given."""
    looms: bool = False
    """There where looms are served; always asks for a key."""
    query: Any = None
    """The type of what may stand after the question mark."""
    open: bool = False
    """Answers without a key: it tells nothing that is anybody's."""


async def send_json(
    value: Any, send: Send, status: int = 200, headers: Iterable[tuple[str, str]] = ()
) -> None:
    """A whole answer."""
    text = json_text(value, compact=True, ascii=False)
    await send_text(text, "application/json", send, status, headers)


async def send_text(
    text: str,
    kind: str,
    send: Send,
    status: int = 200,
    headers: Iterable[tuple[str, str]] = (),
) -> None:
    """A whole answer of some kind of text, with further headers."""
    await send_bytes(text.encode(), kind, send, status, headers)


async def send_bytes(
    data: bytes,
    kind: str,
    send: Send,
    status: int = 200,
    headers: Iterable[tuple[str, str]] = (),
) -> None:
    """A whole answer of any kind."""
    named = [("content-type", kind), ("content-length", str(len(data))), *headers]
    raw = [(name.lower().encode(), value.encode()) for name, value in named]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": data})


async def read_whole(receive: Receive) -> bytes:
    """The body, which `BodyGate` gives whole."""
    message = await receive()
    return bytes(message["body"])
