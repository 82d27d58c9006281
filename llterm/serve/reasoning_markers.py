"""What stands around a model's thoughts in its replies, as its chat template gives it away."""

from __future__ import annotations

from typing import NamedTuple


class ReasoningMarkers(NamedTuple):
    """The texts before and after thoughts."""

    open: str
    close: str


_KNOWN = (
    ReasoningMarkers("<think>", "</think>"),
    ReasoningMarkers("[THINK]", "[/THINK]"),
    ReasoningMarkers("<thinking>", "</thinking>"),
    ReasoningMarkers("<thought>", "</thought>"),
    ReasoningMarkers("<reasoning>", "</reasoning>"),
    ReasoningMarkers("<seed:think>", "</seed:think>"),
    ReasoningMarkers("<|START_THINKING|>", "<|END_THINKING|>"),
    ReasoningMarkers("<|begin_of_thought|>", "<|end_of_thought|>"),
    ReasoningMarkers("◁think▷", "◁/think▷"),
)


def reasoning_markers(template: str) -> ReasoningMarkers | None:
    """The markers that a chat template knows; None where its model does not think aloud.

    Templates take earlier thoughts out of a chat, so what ends them is in the template.
    """
    return next((markers for markers in _KNOWN if markers.close in template), None)
