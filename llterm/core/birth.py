"""What a model's text was born with: settings, alternatives at each token, and what it was taken
instead of. Kept as JSON with the piece."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llterm.core.jsontext import json_text
from llterm.core.measures import logprob_of
from llterm.core.nesting import parsed

Alternative = tuple[int, bytes, float]
"""A candidate's id, bytes and logprob."""


@dataclass(frozen=True, slots=True)
class Birth:
    """The moment at which a piece was made."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    alternatives: tuple[tuple[Alternative, ...], ...] = ()
    """The best few candidates at each token, the token itself among them if it was one."""
    rejected: tuple[tuple[bytes, float], ...] = ()
    """Suggestions that were there too and were not taken: text and joint logprob."""
    by: tuple[str, ...] = ()
    """Of a mix: the model that each token came from, empty where it was no model's first choice."""


def birth_text(birth: Birth) -> str:
    """The birth as JSON: bytes in hexadecimal, rejected texts as text."""
    found: dict[str, object] = {
        "settings": birth.settings,
        "alternatives": [
            [(id, data.hex(), round(logprob, 4)) for id, data, logprob in one]
            for one in birth.alternatives
        ],
    }
    if birth.rejected:
        found["rejected"] = [
            (data.decode("utf-8", "surrogateescape"), round(logprob, 4))
            for data, logprob in birth.rejected
        ]
    if birth.by:
        found["by"] = birth.by
    return json_text(found, compact=True, bytes_kept=True)


def read_birth(text: str) -> Birth:
    """The birth kept as this JSON; an empty one where it is none."""
    try:
        found = parsed(text or "{}")
        return Birth(
            dict(found.get("settings", {})),
            tuple(
                tuple(
                    (int(id), bytes.fromhex(data), known)
                    for id, data, lp in one
                    if (known := logprob_of(lp)) is not None
                )
                for one in found.get("alternatives", ())
            ),
            tuple(
                (str(data).encode("utf-8", "surrogateescape"), known)
                for data, lp in found.get("rejected", ())
                if (known := logprob_of(lp)) is not None
            ),
            tuple(map(str, found.get("by", ()))),
        )
    except (ValueError, TypeError, AttributeError, OverflowError):
        return Birth()
