"""`llterm export` and `llterm import`: where a loom comes from and goes to."""

from __future__ import annotations

import sys
from pathlib import Path

from llterm.errors import UsageError
from llterm.formats.export_source import read_source
from llterm.formats.exports import ExportOptions, caveat, exported, holds_history, write_file
from llterm.formats.file_formats import format_of
from llterm.formats.imports import MOST_IMPORTED, free_loom, import_file
from llterm.jobs.inputs import check_is_loom, is_loom, read_text
from llterm.number_format import count_of
from llterm.output import put_bytes
from llterm.regular_file import present
from llterm.store.repair import fault_of


def run_export(loom: Path, format: str | None, output: Path | None, taste: ExportOptions) -> str:
    """Write the loom in another format, to a file or to stdout. Returns what to say.

    The output `-` is stdout too, as the text `-` is stdin.
    """
    check_is_loom(loom)
    output = None if output == Path("-") else output
    format = format or (format_of(output) if output is not None else None) or "text"
    if output is not None and present(output) and output.samefile(loom):
        raise UsageError("The export would overwrite the loom", "", "Name another file.")
    if output is None and format == "png" and sys.stdout.isatty():
        raise UsageError("A terminal shows no PNG", "", "Name a file: -o picture.png")
    source = read_source(loom, history=holds_history(format))
    data = exported(source, format, taste)
    said = [fault_of(loom), caveat(source, format)]
    if output is None:
        put_bytes(data)
    else:
        write_file(output, data)
        said.insert(0, f"{output}: {len(data):,} bytes, {format}")
    return "\n".join(filter(None, said))


def run_import(source: Path, format: str | None, output: Path | None) -> str:
    """Make a loom of another program's file, which stays as it is. Returns what to say."""
    if is_loom(source) and present(source):
        raise UsageError(f"{source.name} is a loom already", "", f"Open it: llterm weave {source}")
    data = read_text(source, MOST_IMPORTED)
    target = output or free_loom(source)
    try:
        made = import_file(data, source.name, format, target)
    except UsageError as error:
        error.title = error.title.replace("This file", source.name)
        raise
    nodes = count_of(made.nodes, "node")
    lines = [f"{target}: {nodes} from {source.name} ({made.format})", *made.notes]
    return "\n".join(lines)
