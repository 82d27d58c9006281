"""An estimate of the memory that a model takes, and whether this machine has it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from llterm.backends.caches import size_of
from llterm.backends.llamacpp.gguf_header import ModelInfo
from llterm.backends.llamacpp.loader import MOST_CONTEXT, RESERVE, LlamaSettings
from llterm.errors import ModelError

Fit = Literal["fits", "tight", "too large", "unknown"]
COMPUTE = 256 << 20
"""Bytes for llama.cpp's own buffers, about."""
_WIDTH = {"f32": 4.0, "f16": 2.0, "q8_0": 1.0625}
"""Bytes of a number in the cache."""
_TIGHT = 0.8
"""Share of what is free above which other programs will feel it."""


def needed(info: ModelInfo, size: int, context: int | None = None) -> int:
    """Bytes that a model with `size` bytes of weights takes, about.

    `context` in tokens; None is what it is opened with by default.
    """
    cells = (context or min(info.context or MOST_CONTEXT, MOST_CONTEXT)) + RESERVE
    return size + info.cell * cells + min(COMPUTE, size)


def check_room(info: ModelInfo, settings: LlamaSettings) -> None:
    """Raise ModelError where a context needs more memory than can be had, before any is taken.

    A system that promises memory it does not have would end the program in the middle of its work.
    """
    if settings.gpu_layers:
        return  # Its cache lies in the GPU's memory.
    window = settings.context or min(info.context or MOST_CONTEXT, MOST_CONTEXT)
    cells = window + RESERVE
    cache = round(info.cell * cells * _WIDTH[settings.kv_type] / 2)
    # The scores of a whole batch with every cell; flash attention, which q8_0 needs, keeps none.
    flash = settings.kv_type == "q8_0" or settings.switches.flash
    scores = 0 if flash else 4 * info.heads * cells * max(settings.batch, 64)
    # Weights are read where the file lies; those laid out anew are copies.
    copies = size_of(info.path) if settings.switches.repack else 0
    free = available()
    if free and cache + scores + copies > free:
        raise ModelError(
            f"There is not enough memory for {info.path.name}",
            f"A context of {window:,} tokens takes {(cache + scores + copies) / 1e9:,.1f} GB beside"
            f" the weights, about; {free / 1e9:,.1f} GB can be had.",
            "Set a smaller one with --context, or close other programs.",
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
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0


def fit(bytes_needed: int, free: int | None = None) -> Fit:
    """What that means on this machine, now; `free` are the bytes that can be had."""
    free = available() if free is None else free
    if not free:
        return "unknown"
    if bytes_needed > free:
        return "too large"
    return "tight" if bytes_needed > _TIGHT * free else "fits"
