"""Exports of loom files, as the command makes them."""

from __future__ import annotations

from pathlib import Path

from llterm.formats.export_source import read_source
from llterm.formats.exports import ExportOptions, exported, holds_history


def export(path: Path, format: str, taste: ExportOptions) -> bytes:
    """A loom file in another format."""
    return exported(read_source(path, history=holds_history(format)), format, taste)
