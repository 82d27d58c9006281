"""A loom in another format: what writes each, and files of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llterm.errors import LltermError, reason
from llterm.faults import own_faults
from llterm.formats import (
    dot,
    logitloom,
    loom_html,
    loom_json,
    loomsidian,
    plain_text,
    png,
    preference_pairs,
    pyloom,
    svg,
)
from llterm.formats.export_source import ExportSource
from llterm.number_format import count_of
from llterm.whole_file import write_whole


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What an export is to hold."""

    every: bool = False
    """Every branch, where a format can hold the story alone."""
    merge: int = 0
    """Levels in which equal texts are one node of a graph; 0 merges nothing."""


WRITERS: dict[str, Callable[[ExportSource, ExportOptions], str | bytes]] = {
    plain_text.NAME: lambda source, taste: plain_text.write_text(source, every=taste.every),
    "markdown": lambda source, taste: plain_text.write_markdown(source, every=taste.every),
    "html": lambda source, taste: loom_html.write(source, every=taste.every),
    "dot": lambda source, taste: dot.write(source, merge=taste.merge),
    "svg": lambda source, _: svg.write(source),
    "png": lambda source, _: png.write(source),
    "jsonl": lambda source, _: preference_pairs.write(source),
    logitloom.NAME: lambda source, _: logitloom.write(source),
    pyloom.NAME: lambda source, _: pyloom.write(source),
    loomsidian.NAME: lambda source, _: loomsidian.write(source),
    loom_json.NAME: lambda source, _: loom_json.write(source).encode(),
}


_DRAWINGS = {"svg": svg.draw, "png": png.draw}


def holds_history(format: str) -> bool:
    """Whether the steps that can be undone go into an export."""
    return format == loom_json.NAME


@own_faults("a loom was exported")
def exported(source: ExportSource, format: str, taste: ExportOptions) -> bytes:
    """A loom in memory in another format. Raises LltermError where it cannot be drawn."""
    written = WRITERS[format](source, taste)
    return written if isinstance(written, bytes) else written.encode("utf-8", "replace")


def caveat(source: ExportSource, format: str) -> str:
    """What this export lacks, because of the loom's size or of this machine; empty where nothing.

    Raises as `exported`.
    """
    drawing = _DRAWINGS[format](source) if format in _DRAWINGS else None
    lacks: list[str] = []
    if drawing is not None and drawing.left_out:
        lacks.append(
            f"The loom is large: {count_of(drawing.left_out, 'node')} far from the beginning are"
            " counted in it, not drawn. Export html with every branch to see them all."
        )
    count = png.unwritten(source) if format == "png" else 0
    if count:
        lacks.append(
            f"No font of this machine has {count_of(count, 'character')} of this loom: boxes stand"
            " for them. Export svg, which browsers show with their fonts, or install such a font."
        )
    return " ".join(lacks)


def write_export(source: ExportSource, format: str, target: Path, taste: ExportOptions) -> str:
    """Export a loom to a file. Returns what it lacks, or nothing.

    Raises LltermError, and leaves what was there then.
    """
    write_file(target, exported(source, format, taste))
    return caveat(source, format)


def write_file(path: Path, data: bytes) -> None:
    """Put the file in place whole, or leave what was there. Raises LltermError."""
    try:
        write_whole(path, data)
    except OSError as error:
        raise LltermError(
            f"{path.name} could not be written", f"{path}: {reason(error)}.", "Name another file."
        ) from error
