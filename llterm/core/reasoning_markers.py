"""What stands around a model's thoughts in its replies, and how an answer begins after them."""

from __future__ import annotations

from typing import NamedTuple

from llterm.core.chat_messages import ChatPart, ChatParts


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
    ReasoningMarkers("<mm:think>", "</mm:think>"),
    ReasoningMarkers("<|channel>thought\n", "<channel|>"),
    ReasoningMarkers("<|START_THINKING|>", "<|END_THINKING|>"),
    ReasoningMarkers("<|begin_of_thought|>", "<|end_of_thought|>"),
    ReasoningMarkers("◁think▷", "◁/think▷"),
)
_CHANNELS = "<|start|>assistant", "<|channel|>final<|message|>"
"""Where a reply is to say first on which channel it is: its end so far, and what the answer's own
channel begins with."""


def reasoning_markers(template: str) -> ReasoningMarkers | None:
    """The markers that a chat template knows; None where its model does not think aloud.

    Templates take earlier thoughts out of a chat, so what ends them is in the template.
    """
    return next((markers for markers in _KNOWN if markers.close in template), None)


def after_thoughts(parts: ChatParts) -> ChatParts:
    """A chat up to where the answer itself begins: thoughts that the template opens are closed,
    empty, as templates that know of it write them."""
    text = "".join(part.text for part in parts)
    said = max((place for place, part in enumerate(parts) if part.written), default=-1)
    own = "".join(part.text for part in parts[said + 1 :])
    if text.endswith(_CHANNELS[0]):
        return (*parts, ChatPart(_CHANNELS[1], written=False))
    for markers in _KNOWN:
        _, opened, thought = own.rpartition(markers.open)
        if opened and markers.close not in thought:
            line = "" if thought.endswith("\n") else "\n"
            return (*parts, ChatPart(f"{line}\n{markers.close}\n\n", written=False))
    return parts
