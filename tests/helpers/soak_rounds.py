"""How long soak tests go on."""

from __future__ import annotations

import os


def rounds(usual: int) -> int:
    """How often a loop runs: as CI has it, times LLTERM_SOAK where that is set."""
    return max(1, round(usual * float(os.environ.get("LLTERM_SOAK", "1"))))
