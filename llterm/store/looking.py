"""Opens a loom's database to look at it or copy it."""

from __future__ import annotations

import sqlite3
import urllib.parse
from pathlib import Path


def to_look(path: Path) -> sqlite3.Connection:
    """An existing loom's database; nothing is to be written through it. Raises sqlite3.Error.

    A kill can leave a transaction half done, with its journal beside the file. Only who may write
    can undo that (SQLite's mode `rw`, which reads a write-protected file all the same); with `ro`
    the first read fails instead.
    """
    address = f"file:{urllib.parse.quote(str(path.absolute()))}?mode=rw"
    return sqlite3.connect(address, uri=True)
