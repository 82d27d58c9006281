"""How many tokens an answer says it took, in the words of each kind of server."""

from __future__ import annotations

from typing import Any

_INSIDE = ("usage", "meta_info")
_PAIRS = (
    ("prompt_tokens", "completion_tokens"),  # OpenAI's `usage`, SGLang's `meta_info`
    ("input_tokens", "output_tokens"),  # OpenAI's responses
    ("tokens_evaluated", "tokens_predicted"),  # llama.cpp
    ("prompt_eval_count", "eval_count"),  # Ollama
)


def tokens_of(data: Any) -> tuple[int, int]:
    """Prompt tokens and answer tokens of one parsed answer, of all its parts; 0 where unsaid."""
    counts = [_of_part(one) for one in (data if isinstance(data, list) else [data])]
    return sum(one for one, _ in counts), sum(one for _, one in counts)


class Tally:
    """The counts of one streamed answer, whose parts tell sums so far or only the last one any."""

    def __init__(self) -> None:
        self._told: dict[object, tuple[int, int]] = {}

    def new(self, data: Any) -> tuple[int, int]:
        """As `tokens_of`: what this part tells beyond those before it. llama.cpp counts for each of
        several prompts."""
        line = data.get("index") if isinstance(data, dict) else None
        prompt, answer = self._told.get(line, (0, 0))
        now = tokens_of(data)
        self._told[line] = (max(now[0], prompt), max(now[1], answer))
        return max(now[0] - prompt, 0), max(now[1] - answer, 0)


def _of_part(data: Any) -> tuple[int, int]:
    if not isinstance(data, dict):
        return 0, 0
    told = next((data[one] for one in _INSIDE if isinstance(data.get(one), dict)), data)
    for prompt, answer in _PAIRS:
        if prompt in told or answer in told:
            return _count(told.get(prompt)), _count(told.get(answer))
    return 0, 0


def _count(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0
