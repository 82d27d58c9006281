"""Every model there is, with what a person chooses by: size, quantisation, origin, memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llterm.backends.caches import parts_of, quantisation_of
from llterm.backends.llamacpp.gguf_header import UNKNOWN, inspect_gguf
from llterm.backends.llamacpp.memory_estimate import Fit, available, fit, needed
from llterm.backends.registry import Known, known_models
from llterm.config import Config
from llterm.errors import LltermError, reason


@dataclass(frozen=True, slots=True)
class Listed:
    """One model of the list."""

    known: Known
    size: int = 0
    """Bytes of all its files."""
    quantisation: str = ""
    architecture: str = ""
    context: int = 0
    """Tokens it was trained with."""
    needs: int = 0
    """Bytes of memory at its default context, about."""
    fit: Fit = "unknown"
    offers: str = ""
    """Of a model on a server: what the server has, or why that is not known."""
    problem: str = ""
    """Why it cannot be opened; empty where nothing speaks against it."""

    @property
    def origin(self) -> str:
        """Where it comes from, for people."""
        return self.known.origin or self.known.kind


def list_models(config: Config, addresses: Sequence[str] = ()) -> list[Listed]:
    """All models with a name, and those at these addresses. A file that cannot be read is listed
    with the reason.

    Models of servers are listed by name alone: `with_offers` asks them.
    """
    free = available()
    return [_listed(known, free) for known in known_models(config, addresses)]


async def with_offers(rows: Sequence[Listed]) -> list[Listed]:
    """The list with what servers say of their models; takes some seconds at most."""
    from llterm.backends.remote.offers import ask_servers

    known = [one.known for one in rows]
    told = await ask_servers(
        {one.name: one.settings.server for one in known if one.settings.server is not None}
    )
    return [replace(one, offers=told.get(one.known.name, "")) for one in rows]


def _listed(known: Known, free: int) -> Listed:
    if known.path is None:
        return Listed(known)
    try:
        info = inspect_gguf(known.path, brief=True)
        size = sum(one.stat().st_size for one in parts_of(known.path))
    except LltermError as error:
        return Listed(known, problem=error.title)
    except OSError as error:
        return Listed(known, problem=f"It could not be read: {reason(error)}")
    bytes_needed = needed(info, size, known.settings.context)
    named = quantisation_of(known.name) or quantisation_of(known.path.stem)
    return Listed(
        known,
        size,
        info.quantisation if info.quantisation != UNKNOWN else named or UNKNOWN,
        info.architecture,
        info.context,
        bytes_needed,
        fit(bytes_needed, free),
        "" if info.text else "It does not predict text",
    )


def size_text(size: int) -> str:
    """Bytes as people read them."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def fit_text(found: Fit) -> str:
    """What a person should know of it; empty where nothing is to be said."""
    return {"tight": "memory is tight", "too large": "too large for memory"}.get(found, "")
