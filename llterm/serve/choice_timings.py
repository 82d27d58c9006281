"""How long texts took, in llama.cpp's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llterm.serve.drawn_choices import DrawnChoice, usage


def timings(choices: Sequence[DrawnChoice]) -> Mapping[str, float]:
    """Of the choices of one request, which are drawn side by side: milliseconds until the first
    token, the wait for a slot among them, and from there to the last one.

    A rate counts the tokens after each choice's first, which comes with the prompt.
    """
    counts = usage(choices)
    cached = counts["prompt_tokens_details"]["cached_tokens"]
    read, drawn = counts["prompt_tokens"] - cached, counts["completion_tokens"]
    begun = min(choice.begun for choice in choices)
    first = min((choice.first for choice in choices if choice.first is not None), default=begun)
    last = max(choice.last for choice in choices)
    later = sum(max(len(choice.tokens) - 1, 0) for choice in choices)
    prompt, predicted = 1e3 * (first - begun), 1e3 * max(last - first, 0.0)
    return {
        "cache_n": cached,
        "prompt_n": read,
        "prompt_ms": prompt,
        "prompt_per_token_ms": _share(prompt, read),
        "prompt_per_second": _share(1e3 * read, prompt),
        "predicted_n": drawn,
        "predicted_ms": predicted,
        "predicted_per_token_ms": _share(predicted, later),
        "predicted_per_second": _share(1e3 * later, predicted),
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0
