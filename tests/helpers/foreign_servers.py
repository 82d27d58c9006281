"""Models on servers that are no llterm."""

from __future__ import annotations

from typing import Any

from llterm.backends.remote.remote_backend import RemoteBackend
from llterm.backends.remote.server_connection import open_remote
from llterm.config.server_settings import ServerSettings


async def open_foreign(name: str, settings: ServerSettings, **how: Any) -> RemoteBackend:
    """As `open_remote`, of a server that speaks anything but llterm's own words."""
    backend = await open_remote(name, settings, **how)
    assert isinstance(backend, RemoteBackend)
    return backend
