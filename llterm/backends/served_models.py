"""Models in use that are on servers: whether those answer, and what went over the wire."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llterm.backends.remote.remote_backend import RemoteBackend
from llterm.backends.remote.transport import TransportUsage
from llterm.core.display import label_text
from llterm.core.query import MayBeAway, Source


@dataclass(frozen=True, slots=True)
class ServerUsage:
    """What went over the wire to one model's server."""

    model: str
    spent: TransportUsage


def server_of(source: Source | None) -> RemoteBackend | None:
    """The source, where it is a model on a server."""
    return source if isinstance(source, RemoteBackend) else None


def counted(source: Source | None) -> tuple[ServerUsage, ...]:
    """The counter of a model on a server; of a mix, those of its models."""
    servers = filter(None, map(server_of, getattr(source, "sources", (source,))))
    return tuple(ServerUsage(server.name, server.transport.spent) for server in servers)


def silent(source: Source | None) -> tuple[str, ...]:
    """Names of the models whose servers do not answer now: the source's own, or those of a mix."""
    if source is None:
        return ()
    of: Sequence[Source] = getattr(source, "sources", (source,))
    return tuple(model.name for model in of if isinstance(model, MayBeAway) and model.away)


def counted_words(counts: Sequence[ServerUsage]) -> str:
    """A line each, every one begun by a line break; nothing where none is on a server."""
    named = ((label_text(count.model), count) for count in counts)
    return "".join(f"\n{name}: {count.spent.summary()}" for name, count in named)
