"""`llterm export` and `llterm import`: where a loom comes from and goes to."""

from __future__ import annotations

import sys
from pathlib import Path

from llterm.core.display import display_text
from llterm.errors import UsageError
from llterm.formats.exchange import Taste, caveat, export, format_of, import_file
from llterm.formats.files import MOST_IMPORTED, free_loom, write_file
from llterm.headless.inputs import LOOM, is_loom, read_text
from llterm.store.repair import fault_of


def run_export(loom: Path, format: str | None, output: Path | None, taste: Taste) -> str:
    """Write the loom in another format, to a file or to stdout; what to say about it."""
    check_is_loom(loom)
    format = format or (format_of(output) if output is not None else None) or "text"
    if output is not None and output.exists() and output.samefile(loom):
        raise UsageError("The export would overwrite the loom", "", "Name another file.")
    if output is None and format == "png" and sys.stdout.isatty():
        raise UsageError("A terminal shows no PNG", "", "Name a file: -o picture.png")
    data = export(loom, format, taste)
    said = [fault_of(loom), caveat(loom, format)]
    if output is None:
        _print(data)
    else:
        write_file(output, data)
        said.insert(0, f"{output}: {len(data):,} bytes, {format}")
    return "\n".join(filter(None, said))


def run_import(source: Path, format: str | None, output: Path | None) -> str:
    """Make a loom of another program's file, which stays as it is; what to say about it."""
    if source.is_file() and is_loom(source):
        raise UsageError(f"{source.name} is a loom already", "", f"Open it: llterm weave {source}")
    data = read_text(source, MOST_IMPORTED)
    target = output or free_loom(source)
    try:
        made = import_file(data, source.name, format, target)
    except UsageError as error:
        error.title = error.title.replace("This file", source.name)
        raise
    nodes = f"{made.nodes:,} node{'' if made.nodes == 1 else 's'}"
    lines = [f"{target}: {nodes} from {source.name} ({made.format})", *made.notes]
    return "\n".join(lines)


def check_is_loom(path: Path) -> None:
    """Raise UsageError where this is no loom, in words that fit what it is."""
    if not path.exists():
        raise UsageError(f"There is no loom {path}", "", "Check its name.")
    if path.is_file() and path.stat().st_size:
        with path.open("rb") as file:
            if file.read(len(LOOM)) != LOOM:
                raise UsageError(f"{path.name} is not a loom", "", "Looms are made by llterm.")


def _print(data: bytes) -> None:
    """A terminal obeys what is printed on it, so only what it may see; a pipe gets the bytes."""
    if sys.stdout.isatty():
        text = display_text(data)
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
    else:
        sys.stdout.buffer.write(data)
    sys.stdout.flush()
