"""An estimate of the memory that a model takes, and whether this machine has it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from llterm.backends.caches import size_of
from llterm.backends.llamacpp.gguf_header import ModelInfo
from llterm.backends.llamacpp.loader import LlamaSettings
from llterm.errors import ModelError

Fit = Literal["fits", "tight", "too large", "unknown"]
COMPUTE = 256 << 20
"""Bytes for llama.cpp's own buffers, about."""
_WIDTH = {"f32": 4.0, "f16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32,
          "q4_1": 20 / 32, "q4_0": 18 / 32}  # fmt: skip
"""Bytes of a number in the cache: quantised ones have scales, a block of 32 has one or two."""
_TIGHT = 0.8
"""Share of what is free above which other programs will feel it."""


def cell_bytes(info: ModelInfo, settings: LlamaSettings) -> float:
    """What one token takes in the cache."""
    return info.cell * _WIDTH[settings.kv_type] / 2


def needed(info: ModelInfo, size: int, settings: LlamaSettings) -> int:
    """Bytes that a model with `size` bytes of weights takes, about."""
    _, cells = settings.room(info.context)
    return size + round(cell_bytes(info, settings) * cells) + min(COMPUTE, size)


def check_room(info: ModelInfo, settings: LlamaSettings) -> None:
    """Raise ModelError where a context needs more memory than can be had, before any is taken.

    A system that promises memory it does not have would end the program in the middle of its work.
    """
    if settings.layers:
        return  # Its cache lies in the GPU's memory.
    window, cells = settings.room(info.context)
    cache = round(cell_bytes(info, settings) * cells)
    # The scores of a whole batch with every cell; flash attention keeps none.
    scores = 0 if settings.flash_type else 4 * info.heads * cells * max(settings.batch, 64)
    # Weights are read where the file lies; those laid out anew are copies.
    copies = size_of(info.path) if settings.switches.repack else 0
    taken, free = cache + scores + copies, available()
    if free and taken > free:
        raise ModelError(
            f"There is not enough memory for {info.path.name}",
            f"A context of {window:,} tokens, with {cells:,} cells, takes"
            f" {taken / 1e9:,.1f} GB beside the weights, about; {free / 1e9:,.1f} GB can be had.",
            "Set a smaller --context or --cache-size, or close other programs.",
        )


def available() -> int:
    """Bytes of memory that can be had without swapping; 0 where that cannot be told.

    Where the system says only how much there is, that.
    """
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(int(one.split()[1]) << 10 for one in lines if one.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        pass
    try:
        return machine_memory()
    except (ValueError, OSError):
        return 0


def machine_memory() -> int:
    """Bytes that this machine has. Raises ValueError, OSError where the system does not say."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def fit(bytes_needed: int, free: int | None = None) -> Fit:
    """What that means on this machine, now; `free` are the bytes that can be had."""
    free = available() if free is None else free
    if not free:
        return "unknown"
    if bytes_needed > free:
        return "too large"
    return "tight" if bytes_needed > _TIGHT * free else "fits"
