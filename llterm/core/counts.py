"""How many of something there are, in words."""

from __future__ import annotations


def count_of(number: int, singular: str, plural: str = "") -> str:
    """`1 node`, `2 nodes`, `1,000 nodes`. Where an s does not make it many, `plural` says how."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"
