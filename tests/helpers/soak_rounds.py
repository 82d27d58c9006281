"""How long soak tests go on."""

from __future__ import annotations

import os


def rounds(usual: int) -> int:
    """How often a loop runs: as CI has it, times LLTERM_SOAK where that is set."""
    return max(1, round(usual * _factor()))


def explores() -> bool:
    """Whether examples are drawn that no run had before: with LLTERM_SOAK above 1."""
    return _factor() > 1


def _factor() -> float:
    return float(os.environ.get("LLTERM_SOAK", "1"))
