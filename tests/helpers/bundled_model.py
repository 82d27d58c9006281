"""The bundled model, and its quantisations, made as `llterm models quantize` does."""

from __future__ import annotations

from pathlib import Path

import llterm
from llterm.backends.llamacpp.quantize import quantize

BUNDLED = Path(llterm.__file__).parent / "models" / "fable-f16.gguf"


def quantized(folder: Path, kind: str) -> Path:
    """The bundled model in another quantisation."""
    path = folder / f"fable-{kind}.gguf"
    if not path.exists():
        quantize(BUNDLED, path, kind, threads=1)
    return path
