"""`--record`: a wire whose answers are kept in a cassette on their way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing
from typing import Any

from llterm.backends.remote.cassette import STREAM, CassetteWriter, Entry
from llterm.backends.remote.wire import Reply, Spent, Wire
from llterm.errors import LltermError


class RecordingWire:
    """Hands everything on; a request that is cancelled before its answer is not kept."""

    def __init__(self, wire: Wire, cassette: CassetteWriter) -> None:
        self.name = wire.name
        self._wire = wire
        self._cassette = cassette

    async def get(self, path: str) -> Reply:
        return await self._kept("GET", path, None, self._wire.get(path))

    async def post(self, path: str, body: Mapping[str, Any], *, idempotent: bool = True) -> Reply:
        answer = self._wire.post(path, body, idempotent=idempotent)
        return await self._kept("POST", path, body, answer)

    async def stream(self, path: str, body: Mapping[str, Any]) -> AsyncGenerator[Any]:
        events: list[Any] = []
        ended = False
        error: LltermError | None = None
        try:
            async with aclosing(self._wire.stream(path, body)) as source:
                async for event in source:
                    events.append(event)
                    yield event
            ended = True
        except LltermError as failed:
            error = failed
            raise
        finally:
            if events or ended or error:
                entry = Entry(STREAM, path, body, events=tuple(events), ended=ended, error=error)
                self._cassette.add(entry)

    @property
    def parallel(self) -> int:
        return self._wire.parallel

    def set_parallel(self, count: int) -> None:
        self._wire.set_parallel(count)

    @property
    def spent(self) -> Spent:
        return self._wire.spent

    @property
    def away(self) -> str:
        return self._wire.away

    async def close(self) -> None:
        await self._wire.close()
        self._cassette.close()

    async def _kept(self, method: str, path: str, body: Any, answer: Awaitable[Reply]) -> Reply:
        try:
            reply = await answer
        except LltermError as error:
            self._cassette.add(Entry(method, path, body, error=error))
            raise
        self._cassette.add(Entry(method, path, body, reply.status, reply.data))
        return reply
