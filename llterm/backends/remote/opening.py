"""The wire that a model's settings ask for: to its server, recorded on the way, or a recording."""

from __future__ import annotations

import asyncio

from llterm.backends.remote.cassette import CassetteWriter
from llterm.backends.remote.httpwire import HttpWire
from llterm.backends.remote.keys import read_key
from llterm.backends.remote.news import Tell
from llterm.backends.remote.recording import RecordingWire
from llterm.backends.remote.replaying import ReplayWire
from llterm.backends.remote.wire import Wire
from llterm.config.server_settings import ServerSettings
from llterm.errors import ConfigError


async def open_wire(settings: ServerSettings, tell: Tell | None = None) -> Wire:
    """The way to this server, or to a recording of one; nothing is sent yet.

    `tell` hears a line when the server is away or loads its model, and an empty one when all is
    well again. Raises UsageError where the settings, the key or a file are no good.
    """
    if settings.replay is not None:
        return ReplayWire(settings.replay)
    for setting, why, hint in settings.mistakes():
        raise ConfigError(f"Wrong value for {setting}", f"{why}.", hint)
    # Both take their time: a command that asks its person, and a library that is imported.
    key = await asyncio.to_thread(read_key, settings)
    wire = await asyncio.to_thread(HttpWire, settings, key, tell)
    if settings.record is None:
        return wire
    return RecordingWire(wire, CassetteWriter(settings.record, settings, wire.parallel, key))
