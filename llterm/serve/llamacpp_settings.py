"""How tokens are drawn, told in llama.cpp's names."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from llterm.core.sampling.sampler_chain import digits_of_id
from llterm.core.sampling.sampler_settings import SamplerSettings

_NAMES = (
    "temperature", "dynatemp_range", "dynatemp_exponent", "top_k", "top_p", "min_p", "typical_p",
    "top_n_sigma", "xtc_probability", "xtc_threshold", "repeat_penalty", "presence_penalty",
    "frequency_penalty", "dry_multiplier", "dry_base", "dry_allowed_length", "dry_penalty_last_n",
    "dry_sequence_breakers", "mirostat", "mirostat_tau", "mirostat_eta",
)  # fmt: skip


def llamacpp_settings(settings: SamplerSettings) -> dict[str, Any]:
    """The sampler's; a seed of -1 draws afresh."""
    return {
        **{name: getattr(settings, name) for name in _NAMES},
        "seed": -1 if settings.seed is None else settings.seed,
        "repeat_last_n": settings.penalty_last_n,
        "samplers": settings.order,
    }


def llamacpp_biases(
    biases: Sequence[tuple[str, float]], banned: Sequence[int]
) -> list[Mapping[str, Any]]:
    """What is added to the logits of tokens that are named by their ids, and ids that are banned
    besides; None is minus infinity, for which JSON has no number."""
    by_id = [(digits_of_id(said), bias) for said, bias in biases]
    named = [(int(digits), bias) for digits, bias in by_id if digits is not None]
    return [
        {"token": token, "bias": bias if math.isfinite(bias) else None}
        for token, bias in (*named, *((id, -math.inf) for id in banned))
    ]
