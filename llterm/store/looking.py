"""Opens a loom's database to look at it or copy it."""

from __future__ import annotations

import os
import sqlite3
import urllib.parse
from pathlib import Path
from typing import Literal


def to_look(path: Path) -> sqlite3.Connection:
    """An existing loom's database; nothing is to be written through it. Raises sqlite3.Error.

    A kill can leave a transaction half done, with its journal beside the file. Only who may write
    can undo that (SQLite's mode `rw`, which reads a write-protected file all the same); with `ro`
    the first read fails instead.
    """
    return connected(path, "rw")


def connected(path: Path, mode: Literal["ro", "rw"]) -> sqlite3.Connection:
    """An existing database, whatever bytes its name has. Raises sqlite3.Error."""
    address = f"file:{urllib.parse.quote(os.fsencode(path.absolute()))}?mode={mode}"
    return sqlite3.connect(address, uri=True)
