"""The sampler chain, stage by stage, as llama.cpp runs it; pure, and open to inspection."""

from llterm.core.sampling.chain import (
    Ladder,
    Mirostat,
    NothingLeft,
    Rung,
    apply,
    choose,
    generator,
)
from llterm.core.sampling.dry import breaker_tokens
from llterm.core.sampling.settings import ORDER, PRESETS, SamplerSettings
from llterm.core.sampling.step import Breakers

__all__ = [
    "ORDER",
    "PRESETS",
    "Breakers",
    "Ladder",
    "Mirostat",
    "NothingLeft",
    "Rung",
    "SamplerSettings",
    "apply",
    "breaker_tokens",
    "choose",
    "generator",
]
