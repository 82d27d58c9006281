"""Quantisations of the bundled model, made as `llterm models quantize` does."""

from __future__ import annotations

from pathlib import Path

from llterm.backends.llamacpp.quantise import quantise
from llterm.backends.registry import BUNDLED, MODELS

FABLE = MODELS / BUNDLED["fable"]


def quantized(folder: Path, kind: str) -> Path:
    """The bundled model in another quantisation."""
    path = folder / f"fable-{kind}.gguf"
    if not path.exists():
        quantise(FABLE, path, kind, threads=1)
    return path
