"""Settings with which a GGUF model is opened."""

from __future__ import annotations

from dataclasses import dataclass

from llterm.backends.chat_formats import Chosen

RESERVE = 2048
"""Cells for suggestions besides the story's."""
MOST_CONTEXT = 8192
"""Default limit: a cache for a model's whole 128k context would take gigabytes."""


@dataclass(frozen=True, slots=True)
class LlamaSettings:
    """Settings of one in-process model."""

    context: int | None = None
    """Most tokens of story and suggestion together; None = what the model was trained with, at most
    8,192 (a cache for more is asked for by name)."""
    threads: int | None = None
    """CPU threads; None leaves one core to the app."""
    batch: int = 512
    """Most tokens a decode; a stop waits for one decode at the most."""
    gpu_layers: int = 0
    """Layers put on a GPU, where llama.cpp was built for one."""
    kv_type: str = "f16"
    """Type of the cache: f32, f16, or q8_0."""
    chat_template: Chosen | None = None
    """A built-in chat format's name, or another format; None is the model's own template, or what
    fits its tokens."""
