"""Files that older versions made."""

from __future__ import annotations

from pathlib import Path

FIRST = Path(__file__).parents[1] / "store" / "files" / "version1.loom"
