"""Small JSON files: what llterm remembers between starts, and what other programs do."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from llterm.core.json_text import json_text, parsed
from llterm.regular_file import read_file
from llterm.whole_file import write_whole

log = logging.getLogger(__name__)


def read_json(path: Path, most: int) -> Any:
    """What a file of at most so many bytes holds. Raises OSError, and ValueError for whatever else
    may be wrong with it."""
    return parsed(read_file(path, most).decode("utf-8"))


def keep_json(path: Path, value: Any) -> bool:
    """Put a file of the owner's alone in place, whole, and whether that went well: what is not
    remembered is no reason to stop, so that only the log hears of it."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, json_text(value, bytes_kept=True).encode(), private=True)
    except OSError as error:
        log.warning("%s could not be written: %s", path, error)
        return False
    return True
