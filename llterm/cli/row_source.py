"""Files of rows that a command reads a line at a time, and again."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from llterm.errors import UsageError, reason
from llterm.formats.row_lines import RowFile
from llterm.regular_file import open_file


@contextmanager
def opened_rows(path: Path) -> Iterator[RowFile]:
    """A file, or a copy of standard input for `-`. Raises UsageError."""
    try:
        if str(path) != "-":
            with open_file(path) as file:
                yield RowFile(file, path.name)
            return
        if sys.stdin is None:
            raise UsageError("There is no standard input", "", "Name a file.")
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
            yield RowFile(copy, "standard input")
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read", f"{reason(error)}.", "Name a file that is yours to read."
        ) from error
