"""A proxy on this machine that holds everything back: a network's latency without a network."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def delayed(host: str, port: int, seconds: float) -> Iterator[tuple[str, int]]:
    """An address that leads to this one, `seconds` there and back."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> asyncio.Server:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # A connection costs a round trip before the first byte.
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(seconds)
                there, back = await asyncio.open_connection(host, port)
                await asyncio.gather(
                    _carry(reader, back, seconds / 2), _carry(there, writer, seconds / 2)
                )

        return await asyncio.start_server(serve, "127.0.0.1", 0)

    server = asyncio.run_coroutine_threadsafe(begin(), loop).result()
    try:
        yield server.sockets[0].getsockname()[:2]
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end(server: asyncio.Server) -> None:
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, wait: float) -> None:
    """Each piece arrives `wait` seconds after it was sent; pieces do not wait for each other."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def send() -> None:
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(max(due - loop.time(), 0))
            if not piece:
                break
            writer.write(piece)
        with suppress(OSError):
            writer.close()

    sending = loop.create_task(send())
    with suppress(OSError):
        while piece := await reader.read(1 << 16):
            pieces.put_nowait((loop.time() + wait, piece))
    pieces.put_nowait((loop.time() + wait, b""))
    with suppress(OSError):
        await sending
