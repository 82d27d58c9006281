"""Quantisations of the bundled model, made by llama.cpp in the test's own folder."""

from __future__ import annotations

import ctypes
from pathlib import Path

from llterm.backends.llamacpp.binding import library
from llterm.backends.registry import BUNDLED, MODELS

TYPES = {"q8_0": 7, "q6_K": 18, "q4_K_M": 15, "q3_K_M": 12, "q2_K": 10}
"""Names and llama.cpp's file types."""
FABLE = MODELS / BUNDLED["fable"]


def quantized(folder: Path, name: str) -> Path:
    """The bundled model in another type."""
    path = folder / f"fable-{name}.gguf"
    if not path.exists():
        llama = library()
        params = llama.llama_model_quantize_default_params()
        params.ftype, params.nthread = TYPES[name], 1
        source, target = str(FABLE).encode(), str(path).encode()
        assert llama.llama_model_quantize(source, target, ctypes.byref(params)) == 0
    return path
