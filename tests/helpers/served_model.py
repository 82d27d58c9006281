"""The little model behind a real address: a server that answers, goes away and comes back."""

from __future__ import annotations

from asyncio import StreamWriter
from collections.abc import Iterator

import pytest

from llterm.backends.remote import server_faults
from llterm.backends.remote.server_faults import RetryPolicy
from tests.helpers.fake_servers import LlamaServer
from tests.helpers.faulty_server import FaultyServer, Request, Step, cut, events, raw, reply, status


class ServedModel:
    """The little model over HTTP, as llama.cpp's server answers; some of its streams break off."""

    def __init__(self) -> None:
        self.model = LlamaServer()
        self.breaks: Iterator[int] = iter(())
        """After how many events each streamed answer breaks off; none left: never again."""
        self.streamed = 0

    async def __call__(self, request: Request, writer: StreamWriter) -> None:
        await self.step(request)(request, writer)

    def step(self, request: Request) -> Step:
        """What it does about a request."""
        if request.method == "GET":
            known = request.path in self.model.paths
            return reply(self.model.paths[request.path]) if known else status(404)
        if not request.data.get("stream"):
            return reply(self.model.answer(request.path, request.data))
        self.streamed += 1
        told, after = self.model.events(request.data), next(self.breaks, None)
        begun = events(*told[:after], done=False, end=False)
        return raw(events(*told)) if after is None else cut(begun)


def served() -> FaultyServer:
    """A server of the little model, to be started."""
    return FaultyServer(ServedModel())


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server at which nobody listens is given up at once, though it had answered before."""
    policy = RetryPolicy(None, -1.0)
    monkeypatch.setitem(server_faults.PATIENCE, "unreached", policy)
