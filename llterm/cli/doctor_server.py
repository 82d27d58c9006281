"""`llterm doctor URL`: what a server says of itself, what trying shows, and what that means."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

from llterm.backends.registry import find_model
from llterm.config import Config
from llterm.config.server_settings import is_address
from llterm.core.display import label_text
from llterm.core.query import Backend, Failed, Query
from llterm.core.tokens import Anchor, Path
from llterm.errors import LltermError
from llterm.number_format import count_of
from llterm.output import ProgressLine


def is_served(name: str, config: Config) -> bool:
    """Whether a model of this name is on a server: an address, or one that is configured so."""
    own = config.models.get(name)
    return is_address(name) or (own is not None and own.server is not None)


def check_server(name: str, config: Config) -> str:
    """A table of what the server can do, one row each, gaps explained.

    `name` is an address, or a model of the configuration that is on a server. Raises LltermError.
    """
    rows = asyncio.run(_examined(name, config))
    return "\n".join(f"{label:<22}{label_text(value)}" for label, value in rows)


async def _examined(name: str, config: Config) -> list[tuple[str, str]]:
    from llterm.backends.chat_formats import chosen_format
    from llterm.backends.remote.probe import reused_tokens
    from llterm.backends.remote.server_connection import open_remote

    known = find_model(name, config)
    server = known.settings.server
    for own in config.models.values():
        # The settings of a configured model with this very address count: it may need a key.
        if own.server is not None and name.rstrip("/") in [
            u.rstrip("/") for u in own.server.base_url
        ]:
            server = own.server
    assert server is not None
    line = ProgressLine()
    start = time.perf_counter()
    chosen = await asyncio.to_thread(chosen_format, server, config)
    backend = await open_remote(
        known.name, server, known.settings.context, tell=line.say, fresh=True, chosen=chosen
    )
    try:
        opened = time.perf_counter() - start
        answered = await _asked(backend)
        reused = await reused_tokens(backend.transport, backend.dialect)
        rows = [("address", backend.transport.name), ("dialect", backend.dialect.name)]
        rows += backend.explained
        rows.append(answered)
        if reused is not None:
            again = f"yes: {reused} tokens of a repeated prompt" if reused else (
                "no: a repeated prompt is evaluated again; see `--swa-full` of llama.cpp's server"
            )  # fmt: skip
            rows.append(("cache is used", again))
        masks = backend.capabilities.masks
        whole = f"all {backend.vocabulary.size:,} tokens" if masks else "learned as it is seen"
        rows.append(("vocabulary", whole))
        rows.append(("opens in", f"{opened:.2f} s, {backend.transport.spent.requests} requests"))
        return rows
    finally:
        line.clear()
        await backend.close()


async def _asked(backend: Backend) -> tuple[str, str]:
    """What a position of a text brings. Raises LltermError where that is no answer."""
    start = time.perf_counter()
    vocabulary = backend.vocabulary
    text = await asyncio.to_thread(vocabulary.encode, b"Once upon a time")
    async with aclosing(backend.ask([Query(Path(Anchor(vocabulary.prefix + text)))])) as answers:
        async for answer in answers:
            if isinstance(answer, Failed):
                raise answer.error
            listed = count_of(len(answer.distribution.ids), "candidate")
            return "answers", f"yes, with {listed}, in {time.perf_counter() - start:.3f} s"
    raise LltermError("The server gave no answer", "", "Try again.")
