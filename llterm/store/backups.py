"""Dated copies of looms, in a folder of llterm's own, with a limit."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from llterm import paths
from llterm.regular_file import open_file
from llterm.store.database import journal_of
from llterm.whole_file import beside

log = logging.getLogger(__name__)

_DATE = "%Y-%m-%d %H.%M.%S"


def backup_folder(path: Path) -> Path:
    """Where the copies of this loom lie: by its name and its place."""
    place = hashlib.sha256(str(path.absolute()).encode("utf-8", "surrogateescape")).hexdigest()
    return paths.data_dir() / "backups" / f"{path.stem} {place[:8]}"


def backups(path: Path) -> list[Path]:
    """The copies of this loom, newest first."""
    return sorted(backup_folder(path).glob("*.loom"), reverse=True)


def back_up(path: Path, limit: int, now: datetime | None = None) -> Path | None:
    """Copy a loom that nobody writes to, once a day and only where it changed; the copy.

    Keeps the newest `limit` copies; 0 makes none. What cannot be copied is only logged: a backup
    never stands in the way of writing.
    """
    moment = now or datetime.now()
    there = backups(path)
    if limit <= 0 or (there and _is_of(there[0], path, moment)):
        return None
    try:
        return _copied(path, backup_folder(path) / f"{moment.strftime(_DATE)}.loom", limit)
    except OSError as error:
        log.warning("no backup of %s: %s", path, error)
        return None


def keep_aside(path: Path, now: datetime | None = None) -> Path:
    """Copy a damaged loom, as it is, among its copies. Raises OSError."""
    moment = (now or datetime.now()).strftime(_DATE)
    target = paths.made(backup_folder(path)) / f"{moment} damaged.loom"
    with open_file(path) as source:
        _copy(source, target)
    return target


def _is_of(copy: Path, path: Path, now: datetime) -> bool:
    """Whether a copy is of today, or of the loom as it is."""
    today = copy.stem.startswith(now.strftime("%Y-%m-%d"))
    with suppress(OSError):
        return today or copy.stat().st_mtime >= path.stat().st_mtime
    return today


def _copied(path: Path, target: Path, limit: int) -> Path | None:
    with open_file(path) as source:
        try:
            fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None  # Another llterm is writing to it, and made a copy when it began.
        journal = journal_of(path)
        if not path.stat().st_size or (journal.exists() and journal.stat().st_size):
            return None
        paths.made(target.parent)
        _copy(source, target)
    for old in backups(path)[limit:]:
        old.unlink(missing_ok=True)
    return target


def _copy(source: BinaryIO, target: Path) -> None:
    with beside(target) as part:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as copy:
            shutil.copyfileobj(source, copy)
