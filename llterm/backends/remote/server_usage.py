"""Models on servers, of whatever kind, and what went over the wire to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llterm.backends.remote.llterm_backend import LltermBackend
from llterm.backends.remote.remote_backend import RemoteBackend
from llterm.backends.remote.transport import TransportUsage
from llterm.core.display_text import label_text
from llterm.core.query import Source, members_of


@dataclass(frozen=True, slots=True)
class ServerUsage:
    """What went over the wire to one model's server."""

    model: str
    spent: TransportUsage


ServerBackend = RemoteBackend | LltermBackend
"""A model on a server, of whatever kind."""


def server_of(source: Source | None) -> ServerBackend | None:
    """The source, where it is a model on a server."""
    return source if isinstance(source, ServerBackend) else None


def counted(source: Source | None) -> tuple[ServerUsage, ...]:
    """The counter of a model on a server; of a mix, those of its models."""
    members = () if source is None else members_of(source)
    servers = [server for member in members if (server := server_of(member)) is not None]
    return tuple(ServerUsage(server.name, server.transport.spent) for server in servers)


def counted_words(counts: Sequence[ServerUsage]) -> str:
    """A line each, every one begun by a line break; nothing where none is on a server."""
    named = ((label_text(count.model), count) for count in counts)
    return "".join(f"\n{name}: {count.spent.summary()}" for name, count in named)
