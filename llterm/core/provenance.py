"""What a model's text was born with: settings, alternatives at each token, and what it was taken
instead of. Kept as JSON with the piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llterm.core.json_text import json_text, parsed
from llterm.core.pieces import logprob_of

MOST_KEPT = 1 << 24
"""Candidates of the largest vocabulary there may be."""
Alternative = tuple[int, bytes, float]
"""A candidate's id, bytes and logprob."""


WAYS = ("accepted", "drawn", "first choice", "forced", "picked")
"""How a token came into a story: with a suggestion that the person took; by chance, from what the
sampler chain left; as all that the chain left; as all that constraint or healing allowed; put there
by the person. Empty: that was not kept."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """How a token came into a story, and what the sampler chain made of it then."""

    way: str = ""
    p_final: float | None = None
    """What it was drawn with, after the chain; None where nothing was drawn."""
    kept: int | None = None
    """How many candidates the chain left."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """The moment at which a piece was made."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    alternatives: tuple[tuple[Alternative, ...], ...] = ()
    """The best few candidates at each token, the token itself among them if it was one."""
    rejected: tuple[tuple[bytes, float], ...] = ()
    """Suggestions that were there too and were not taken: text and joint logprob."""
    by: tuple[str, ...] = ()
    """Of a mix: the model that each token came from, empty where it was no model's first choice."""
    arrivals: tuple[Arrival, ...] = ()
    """How each token came; none where that was not kept."""


def provenance_text(birth: Provenance) -> str:
    """The birth as JSON: bytes in hexadecimal, rejected texts as text."""
    fields: dict[str, object] = {
        "settings": birth.settings,
        "alternatives": [
            [(id, data.hex(), round(logprob, 4)) for id, data, logprob in candidates]
            for candidates in birth.alternatives
        ],
    }
    if birth.rejected:
        fields["rejected"] = [
            (data.decode("utf-8", "surrogateescape"), round(logprob, 4))
            for data, logprob in birth.rejected
        ]
    if birth.by:
        fields["by"] = birth.by
    if birth.arrivals:
        fields["arrivals"] = [arrival_row(candidates) for candidates in birth.arrivals]
    return json_text(fields, compact=True, bytes_kept=True)


def arrival_row(arrival: Arrival) -> list[str | float | None]:
    """An arrival as JSON has it: way, p_final, kept; no more than there is."""
    if arrival.p_final is None:
        return [arrival.way]
    return [arrival.way, arrival.p_final, arrival.kept]


def read_arrival(row: Sequence[Any]) -> Arrival:
    """What `arrival_row` gave; of values that cannot be, nothing. Raises ValueError or TypeError
    for what is no such row."""
    way, p_final, left = row if len(row) > 1 else (*row, None, None)
    chance = isinstance(p_final, int | float) and not isinstance(p_final, bool)
    number = isinstance(left, int) and not isinstance(left, bool)
    return Arrival(
        way if way in WAYS else "",
        float(p_final) if chance and 0 <= p_final <= 1 else None,
        left if number and 0 < left <= MOST_KEPT else None,
    )


def read_provenance(text: str) -> Provenance:
    """The birth kept as this JSON; an empty one where it is none."""
    try:
        fields = parsed(text or "{}")
        return Provenance(
            dict(fields.get("settings", {})),
            tuple(
                tuple(
                    (int(id), bytes.fromhex(data), known)
                    for id, data, lp in row
                    if (known := logprob_of(lp)) is not None
                )
                for row in fields.get("alternatives", ())
            ),
            tuple(
                (str(data).encode("utf-8", "surrogateescape"), known)
                for data, lp in fields.get("rejected", ())
                if (known := logprob_of(lp)) is not None
            ),
            tuple(map(str, fields.get("by", ()))),
            tuple(read_arrival(row) for row in fields.get("arrivals", ())),
        )
    except (ValueError, TypeError, AttributeError, OverflowError):
        return Provenance()
