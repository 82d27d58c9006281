"""What was found out about a server, kept on disk: the next start asks only whether it is the same.

One file a server and model, named by a hash of their address: neither an address nor a key is in
it, only what the server says to everybody. A file that is too old, of another llterm, or broken is
as good as none.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from llterm import paths
from llterm.backends.remote.steps import ServerTraits
from llterm.config.server_settings import ServerSettings
from llterm.core.tokens import Tail, Token
from llterm.json_file import keep_json, read_json
from llterm.version import __version__

_MOST_BYTES = 1 << 28
"""No vocabulary is longer."""
_FINGERPRINT = re.compile("[0-9a-f]{16}")
LASTS = 7 * 24 * 3600.0
"""Seconds after which a server is tried again."""


@dataclass(frozen=True, slots=True)
class TokenListing:
    """What a server says of its vocabulary."""

    prefix: Tail = ()
    kind: int = 0
    tokens: Sequence[Token] = ()
    """Those that it tells, by id; none where it tells them one by one only."""
    whole: bool = False
    """They are all that its model has."""


@dataclass(frozen=True, slots=True)
class ServerMemory:
    """What trying has shown of one server."""

    dialect: str
    identity: str
    """A hash of all that the server says of itself, its build and its models among it."""
    traits: ServerTraits
    listing: TokenListing


def memory_file(settings: ServerSettings) -> Path:
    """Where this server's model is remembered."""
    parts = (*settings.base_url, settings.dialect, settings.model or "")
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
    return paths.state_dir() / "servers" / f"{name}.json"


def recall(file: Path, now: float | None = None) -> ServerMemory | None:
    """What is known, or None where that is nothing, or too old."""
    try:
        stored = read_json(file, _MOST_BYTES)
        age = (time.time() if now is None else now) - stored["at"]
        if stored["llterm"] != __version__ or not 0 <= age < LASTS:
            return None
        return ServerMemory(
            stored["dialect"], stored["identity"], ServerTraits(**stored["traits"]),
            TokenListing(
                tuple(stored["prefix"]), stored["kind"], _tokens(stored), stored["whole"]
            ),
        )  # fmt: skip
    except (OSError, ValueError, TypeError, LookupError):
        return None


def remember(file: Path, memory: ServerMemory) -> None:
    """Keep it; where that cannot be, the server is tried again next time."""
    tokens = memory.listing.tokens
    data: dict[str, Any] = {
        "llterm": __version__,
        "at": time.time(),
        "dialect": memory.dialect,
        "identity": memory.identity,
        "traits": asdict(memory.traits),
        "prefix": memory.listing.prefix,
        "kind": memory.listing.kind,
        "whole": memory.listing.whole,
        "tokens": _spelled(tokens),
        "special": [token.id for token in tokens if token.special],
        "ends": [token.id for token in tokens if token.end],
    }
    if keep_json(file, data):
        _let_go(file.parent)


def recall_vocabulary(fingerprint: str) -> dict[str, Any] | None:
    """What an llterm told of the vocabulary of this fingerprint, as it came; None where that is
    not known."""
    try:
        told = read_json(_vocabulary_file(fingerprint), _MOST_BYTES)
    except (OSError, ValueError):
        return None
    return told if isinstance(told, dict) else None


def remember_vocabulary(fingerprint: str, told: Any) -> None:
    """Keep it; where that cannot be, it is asked for again next time."""
    with suppress(ValueError):
        file = _vocabulary_file(fingerprint)
        if keep_json(file, told):
            _let_go(file.parent)


def _vocabulary_file(fingerprint: str) -> Path:
    """Raises ValueError for what is no fingerprint: it comes from outside."""
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise ValueError("no fingerprint")
    return paths.state_dir() / "servers" / f"vocabulary-{fingerprint}.json"


def _let_go(folder: Path) -> None:
    """Remove what was kept long ago."""
    with suppress(OSError):
        for old in folder.glob("*.json"):
            if time.time() - old.stat().st_mtime > LASTS:
                old.unlink(missing_ok=True)


def forget(file: Path) -> None:
    """Something that was remembered is not so any more."""
    with suppress(OSError):
        file.unlink()


def _tokens(stored: dict[str, Any]) -> Sequence[Token]:
    special, ends = set(stored["special"]), set(stored["ends"])
    return [
        Token(id, text.encode("latin-1"), special=id in special, end=id in ends)
        for id, text in enumerate(stored["tokens"])
        if text is not None
    ]


def _spelled(tokens: Sequence[Token]) -> list[str | None]:
    """Their bytes by id, a character each; None for ids that are not told."""
    spelled: list[str | None] = [None] * (max((token.id for token in tokens), default=-1) + 1)
    for token in tokens:
        spelled[token.id] = token.data.decode("latin-1")
    return spelled
