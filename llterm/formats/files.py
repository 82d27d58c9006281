"""Files that looms come from and go to."""

from __future__ import annotations

from pathlib import Path

from llterm.errors import LltermError, reason
from llterm.formats.exchange import Taste, caveat, exported
from llterm.formats.source import Source
from llterm.paths import free
from llterm.wholefile import write_whole

MOST_IMPORTED = 1 << 30


def write_export(source: Source, format: str, target: Path, taste: Taste) -> str:
    """Export a loom to a file; what it lacks, or nothing. Raises LltermError, and leaves what was
    there then."""
    write_file(target, exported(source, format, taste))
    return caveat(source, format)


def write_file(path: Path, data: bytes) -> None:
    """Put the file in place whole, or leave what was there. Raises LltermError."""
    try:
        write_whole(path, data)
    except OSError as error:
        raise _refused(path, error) from error


def free_loom(source: Path) -> Path:
    """A loom beside the source, of its name, that is not there yet."""
    name = source.name.removesuffix(".json").removesuffix(".ll")
    stem = Path(name).stem if name == source.name else name
    return free(source.with_name(f"{stem}.loom"))


def _refused(path: Path, error: OSError) -> LltermError:
    return LltermError(
        f"{path.name} could not be written", f"{path}: {reason(error)}.", "Name another file."
    )
