"""Windows that a text is read through: how large they are and how far apart, checked."""

from __future__ import annotations

from llterm.engine.score import Method
from llterm.errors import UsageError

LEAST_WINDOW = 16
NO_HALVES = (
    "A reply is not read in halves",
    "Windows side by side would cut the chat before it.",
    "Choose --method overlap, and no base file: every window begins with the chat.",
)
"""A UsageError's words."""


def window_and_stride(
    window: int, stride: int | None, method: Method, *, context: int, prefix: int, who: str
) -> tuple[int, int]:
    """Both in tokens; a stride of None is half a window, and halves lie side by side.

    `context` is what the model sees at most, `prefix` how many tokens begin every window, and
    `who` sees it ("The model sees"). Raises UsageError for what does not fit.
    """
    if not LEAST_WINDOW <= window <= context:
        raise UsageError(
            f"--window {window} does not fit",
            f"{who} {context:,} tokens at most; the least window is {LEAST_WINDOW}.",
            "Choose one in between, or a larger --context.",
        )
    if method == "halves":
        return window, window
    body = window - prefix
    if body < 2:
        raise UsageError(
            f"A window of {window:,} tokens has no room for the text",
            f"{prefix:,} of them are the chat before it.",
            "Choose a larger --window or --context, or a shorter chat.",
        )
    stride = stride or body // 2
    if not 1 <= stride <= body:
        raise UsageError(
            f"--stride {stride} does not fit",
            f"Windows of {window:,} tokens can be 1 to {body:,} tokens apart.",
            "Leave it out for half a window.",
        )
    return window, stride
