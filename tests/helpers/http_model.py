"""A stand-in of `fake_servers` behind HTTP, for what opens its models by address."""

from __future__ import annotations

from asyncio import StreamWriter
from urllib.parse import unquote

from llterm.backends.remote.transport import RequestRefused
from tests.helpers.faulty_server import Request, events, raw, reply, status
from tests.helpers.little_model import Server


class HttpModel:
    """Answers as its server does; for `FaultyServer`."""

    def __init__(self, server: Server) -> None:
        self.server = server

    async def __call__(self, request: Request, writer: StreamWriter) -> None:
        try:
            if request.method == "GET":
                answer = await self.server.get(unquote(request.path))
                step = reply(answer.data)
            elif request.data.get("stream"):
                told = [event async for event in self.server.stream(request.path, request.data)]
                step = raw(events(*told))
            else:
                step = reply((await self.server.post(request.path, request.data)).data)
        except RequestRefused as refused:
            step = reply(refused.data, refused.status) if refused.data else status(refused.status)
        await step(request, writer)
