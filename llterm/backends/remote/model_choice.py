"""Which of a server's models is meant where nobody has said it; what to say where that is open."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from llterm.backends.remote.steps import shown_name
from llterm.errors import ModelError

NAMED = 12
"""Models that are named; of more the number is told."""


@dataclass(frozen=True, slots=True)
class OfferedModel:
    """A model of a server's list."""

    name: str
    loaded: bool = False
    """The server says that it is in memory."""

    @classmethod
    def of(cls, entry: dict[str, Any]) -> OfferedModel:
        """From an entry of `/v1/models`; llama.cpp's router says there what is loaded."""
        status = entry.get("status")
        state = status.get("value") if isinstance(status, dict) else None
        return cls(str(entry["id"]), state in ("loaded", "loading"))


def choose_model(offered: Sequence[OfferedModel], address: str) -> str | None:
    """The only model, or the only one that is loaded; None where the server lists none.

    Raises ModelError where several could be meant.
    """
    names = list(dict.fromkeys(one.name for one in offered))
    loaded = list(dict.fromkeys(one.name for one in offered if one.loaded))
    for sole in (names, loaded):
        if len(sole) == 1:
            return sole[0]
    if not names:
        return None
    first, example = address.split()[0], shown_name(loaded[0] if loaded else names[0])
    which = f" Loaded are {listing(loaded)}." if loaded else ""
    raise ModelError(
        f"{address} has {len(names):,} models",
        f"It has {listing(names)}.{which}",
        f"Say which: -m '{first}#{example}', or set `model` beside base_url in llterm.toml.",
    )


def listing(names: Iterable[str]) -> str:
    """Models by name, the first of them at least."""
    *first, last = [shown_name(name) for name in names]
    if len(first) >= NAMED:
        return f"{', '.join(first[:NAMED])} and {len(first) + 1 - NAMED:,} more"
    return f"{', '.join(first)} and {last}" if first else last
