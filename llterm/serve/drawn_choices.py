"""The choices of a request while they are drawn, side by side, as tokens and as text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from llterm.core.held_text import HeldText
from llterm.core.tokens import Vocabulary
from llterm.core.tool_format import SPECIAL, SPECIAL_END
from llterm.engine.generation import (
    GeneratedToken,
    GenerationEnd,
    GenerationRequest,
    Generator,
)

_AHEAD = 64
"""Tokens of one choice that wait to be told; then its drawing waits."""


@dataclass(slots=True, eq=False)
class DrawnChoice:
    """One choice of an answer."""

    index: int
    request: GenerationRequest
    vocabulary: Vocabulary
    stop_shown: bool = False
    """The stop text that ends it is part of its text."""
    marked: frozenset[int] = frozenset()
    """Special tokens that are shown, between `SPECIAL` and `SPECIAL_END`: no text reads so."""
    tokens: list[GeneratedToken] = field(default_factory=list)
    text: str = ""
    """What is shown of it so far."""
    end: GenerationEnd | None = None
    begun: float = field(default_factory=time.monotonic)
    """When it was planned; in seconds, as those that follow."""
    first: float | None = None
    """When its first token came."""
    last: float = 0.0
    """When the last one did."""
    held: HeldText = field(init=False)

    def __post_init__(self) -> None:
        self.held = HeldText(self.request.stops, stop_shown=self.stop_shown)

    def take(self, drawn: GeneratedToken | GenerationEnd) -> str:
        """The text that can be shown now."""
        if isinstance(drawn, GenerationEnd):
            self.end = drawn
            shown = self.held.rest()
        else:
            self.last = time.monotonic()
            self.first = self.first or self.last
            self.tokens.append(drawn)
            shown = self._shown(drawn)
        self.text += shown
        return shown

    def _shown(self, drawn: GeneratedToken) -> str:
        counts = len(self.tokens) > self.request.least
        token = self.vocabulary.token(drawn.id)
        silent = token.end or (counts and drawn.id in self.request.stop_ids)
        silent = silent or (token.special and drawn.id not in self.request.spoken)
        data = b"" if silent else token.data
        if drawn.id in self.marked:
            data = SPECIAL.encode() + data + SPECIAL_END.encode()
        return self.held.add(data, counts=counts)

    @property
    def finish_reason(self) -> str:
        """As OpenAI calls it."""
        return "length" if self.end is not None and self.end.finish == "length" else "stop"

    @property
    def stop_reason(self) -> str | int | None:
        """As vLLM calls it: the stop text or stop token that ended it; `stuck` where nothing could
        follow."""
        if self.end is None or self.end.finish in ("length", "end"):
            return None
        if self.end.finish == "stuck":
            return "stuck"
        return self.held.stop or self.tokens[-1].id

    @property
    def logprob_per_token(self) -> float:
        """Natural, of the raw model."""
        return sum(token.logprob for token in self.tokens) / max(len(self.tokens), 1)


Step = tuple[DrawnChoice, GeneratedToken | GenerationEnd, str]
"""A choice, what came of it, and the text that can be shown by that."""


async def draw_choices(
    generator: Generator, choices: Sequence[DrawnChoice]
) -> AsyncGenerator[Step]:
    """All of them, as their tokens come. Closing it cancels all. Raises LltermError."""
    if len(choices) == 1:
        async with aclosing(_steps(generator, choices[0])) as steps:
            async for step in steps:
                yield step
        return
    ready: asyncio.Queue[Step | Exception | None] = asyncio.Queue(_AHEAD)

    async def drawn(choice: DrawnChoice) -> None:
        try:
            async with aclosing(_steps(generator, choice)) as steps:
                async for step in steps:
                    await ready.put(step)
        except Exception as error:  # noqa: BLE001  (raised below, where somebody waits)
            await ready.put(error)
        else:
            await ready.put(None)

    tasks = [asyncio.create_task(drawn(choice)) for choice in choices]
    try:
        left = len(tasks)
        while left:
            came = await ready.get()
            if isinstance(came, Exception):
                raise came
            if came is None:
                left -= 1
            else:
                yield came
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _steps(generator: Generator, choice: DrawnChoice) -> AsyncGenerator[Step]:
    async with aclosing(generator.generate(choice.request)) as drawing:
        async for drawn in drawing:
            yield choice, drawn, choice.take(drawn)


def usage(choices: Sequence[DrawnChoice]) -> dict[str, Any]:
    """Tokens, as OpenAI counts them: each prompt once, whatever the number of its choices."""
    prompts = {id(choice.request.prompt): choice for choice in choices}
    prompt = sum(len(choice.request.prompt) for choice in prompts.values())
    completion = sum(len(choice.tokens) for choice in choices)
    cached = sum(choice.end.cached for choice in prompts.values() if choice.end is not None)
    ends = [choice.end for choice in choices if choice.end is not None]
    proposed, accepted = sum(end.proposed for end in ends), sum(end.accepted for end in ends)
    details = {
        "accepted_prediction_tokens": accepted,
        "rejected_prediction_tokens": proposed - accepted,
    }
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        **({"completion_tokens_details": details} if proposed else {}),
    }
