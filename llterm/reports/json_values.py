"""What the JSON of results is made of, alike in every command."""

from __future__ import annotations

import math

from llterm.core.sight import Sight


def text_value(data: bytes) -> str:
    """Bytes as text; what is not UTF-8 in them is replaced."""
    return data.decode("utf-8", "replace")


def number_value(value: float) -> float | None:
    """JSON has no infinities."""
    return float(value) if math.isfinite(value) else None


def probability(logprob: float) -> float:
    """Of a natural log, whose rounding may lie above 0."""
    return math.exp(min(logprob, 0.0))


def sight_fields(sight: Sight, context: int) -> dict[str, int]:
    """What the model sees of the text, for the stats."""
    return {
        "story_tokens": sight.story,
        "dropped_tokens": sight.dropped,
        "window_start": sight.start,
        "memory_tokens": sight.hidden,
        "context": context,
    }
