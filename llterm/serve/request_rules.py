"""What a server lets requests do, and how it draws where they do not say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings
from llterm.serve.api_errors import bad_field
from llterm.serve.serve_limits import MOST_FACTS, ServeLimits

NEUTRAL = "neutral"
"""Temperature 1, top_p 1, and nothing else."""


@dataclass(frozen=True, slots=True)
class RequestRules:
    """The same for every route."""

    preset: str = NEUTRAL
    seed: int | None = None
    """Of requests that give none; None: each draws afresh."""
    presets: Mapping[str, SamplerSettings] = field(default_factory=lambda: dict(PRESETS))
    limits: ServeLimits = field(default_factory=ServeLimits)

    def check_choices(self, prompts: int, count: int, param: str) -> None:
        """Raise ApiError where prompts × choices are too many."""
        if prompts * count > self.limits.choices:
            raise bad_field(
                param,
                f"{prompts:,} prompts × {count:,} are too many",
                f"{self.limits.choices:,} texts are the most of one request.",
            )

    def check_facts(self, tokens: int, listed: int, param: str) -> None:
        """Raise ApiError where an answer would list too many candidates."""
        if tokens * listed > MOST_FACTS:
            raise bad_field(
                param,
                f"{tokens:,} tokens × {listed:,} candidates are too many",
                f"{MOST_FACTS:,} are the most of one answer.",
                "Ask for fewer candidates, tokens or texts.",
            )
