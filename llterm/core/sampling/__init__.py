"""The sampler chain, stage by stage, as llama.cpp runs it; pure, and open to inspection."""

from llterm.core.sampler import DEFAULT_PRESET, ORDER, PRESETS, SamplerSettings, Sampling
from llterm.core.sampling.chain import (
    Ladder,
    Mirostat,
    NothingLeft,
    Rung,
    apply,
    choose,
    generator,
)
from llterm.core.sampling.drawing import Chain, Chains, Choice, DrawnText, Situation
from llterm.core.sampling.dry import breaker_tokens
from llterm.core.sampling.step import Breakers

__all__ = [
    "DEFAULT_PRESET",
    "ORDER",
    "PRESETS",
    "Breakers",
    "Chain",
    "Chains",
    "Choice",
    "DrawnText",
    "Ladder",
    "Mirostat",
    "NothingLeft",
    "Rung",
    "SamplerSettings",
    "Sampling",
    "Situation",
    "apply",
    "breaker_tokens",
    "choose",
    "generator",
]
