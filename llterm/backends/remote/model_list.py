"""What servers offer: their models by name, asked all at once, and not for long."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import aclosing

from llterm.backends.remote.discovery import Discovery
from llterm.backends.remote.server_connection import open_transport
from llterm.backends.remote.steps import LONGEST_NAME
from llterm.config.server_settings import ServerSettings
from llterm.core.display import label_text
from llterm.errors import LltermError

PATIENCE = 3.0
"""Seconds for a server: a list of models is no reason to wait longer."""
NAMED = 3
"""Models that are named; of more the number is told."""


async def server_models(servers: Mapping[str, ServerSettings]) -> Mapping[str, str]:
    """By the model's name: what its server has, or why that is not known."""
    told = await asyncio.gather(*(_ask(one) for one in servers.values()))
    return dict(zip(servers, told, strict=True))


async def _ask(settings: ServerSettings) -> str:
    if settings.key_command:
        return "not asked: a program would be run for its key"
    try:
        async with asyncio.timeout(PATIENCE):
            transport = await open_transport(settings)
            try:
                async with aclosing(Discovery(transport)) as discovery:
                    return _told(await discovery.model_names())
            finally:
                await transport.close()
    except TimeoutError:
        return f"no answer in {PATIENCE:g} s"
    except LltermError as error:
        return error.title


def _told(names: list[str]) -> str:
    if not names:
        return "reached; it lists no models"
    shown = [label_text(one[:LONGEST_NAME]) for one in names[:NAMED]]
    more = len(names) - NAMED
    return "has " + ", ".join(shown) + (f" and {more} more" if more > 0 else "")
