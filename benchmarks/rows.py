"""What a benchmark reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MODEL = Path(__file__).parent.parent / "llterm" / "models" / "fable-f16.gguf"


@dataclass(frozen=True)
class Row:
    """One figure beside its budget."""

    name: str
    value: float
    unit: str
    budget: float | None = None
    """None: reported only."""
    at_least: bool = False
    """The budget is a floor; otherwise a ceiling."""
    note: str = ""

    @property
    def holds(self) -> bool:
        if self.budget is None:
            return True
        return self.value >= self.budget if self.at_least else self.value <= self.budget


def percentile(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    ranked = sorted(values)
    return ranked[min(int(share * len(ranked)), len(ranked) - 1)]
