"""How many of something there are, in words."""

from __future__ import annotations


def count_of(number: int, one: str, many: str = "") -> str:
    """`1 node`, `2 nodes`, `1,000 nodes`. Where an s does not make it many, `many` says how."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
