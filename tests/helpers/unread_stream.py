"""A client that asks for more than the buffers on the way to it take, and does not read."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_BUFFER = 4096


class UnreadStream:
    """A stream that is under way until it is read."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client

    def wait(self) -> None:
        """Until it has begun."""
        self._client.recv(1, socket.MSG_PEEK)

    def read(self) -> list[Any]:
        """The events up to its end, which is that of an answer."""
        self._client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        answer = bytearray()
        while part := self._client.recv(1 << 20):
            answer += part
        assert answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
        return [
            json.loads(line.removeprefix(b"data: "))
            for line in answer.splitlines()
            if line.startswith(b"data: {")
        ]


@contextmanager
def unread_stream(port: int, prompt: str = "a", tokens: int = 1500) -> Iterator[UnreadStream]:
    """It is given up at the end."""
    body = json.dumps(
        {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "logprobs": 360,
         "stream": True}
    ).encode()  # fmt: skip
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        client.connect(("127.0.0.1", port))
        client.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        yield UnreadStream(client)
