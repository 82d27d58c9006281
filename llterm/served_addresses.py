"""Which model files are served on this machine, and where: so that nobody loads one twice unawares.

Each server has a small file that it holds locked. The lock ends with its process however it ends,
so that a file which was left behind says nothing.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from llterm import paths
from llterm.core.json_text import json_text
from llterm.json_file import read_json

log = logging.getLogger(__name__)
_MOST_BYTES = 1 << 16
_OPEN = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def announced(address: str, files: Sequence[Path]) -> Iterator[None]:
    """Let others know, as long as this lasts, that these files are served at this address.

    Where that cannot be written only the log hears of it: it is no reason not to serve.
    """
    path = _folder() / f"{os.getpid()}.json"
    handle = -1
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            path.unlink()
        handle = os.open(path, _OPEN | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        told = {"address": address, "files": [os.path.realpath(file) for file in files]}
        os.write(handle, json_text(told, bytes_kept=True).encode())
    except OSError as error:
        log.warning("%s could not be written: %s", path, error)
    try:
        yield
    finally:
        if handle >= 0:
            with suppress(OSError):
                path.unlink()
            os.close(handle)


def served_at(file: Path) -> str:
    """The address at which a server of this machine serves this model file; empty where none is
    known to."""
    wanted = os.path.realpath(file)
    with suppress(OSError):
        for note in sorted(_folder().glob("*.json")):
            if _is_held(note):
                address, files = _read(note)
                if wanted in files:
                    return address
    return ""


def already_served(name: str, file: Path | None) -> str:
    """A line for a person who opens this model a second time; empty where it is not served."""
    address = "" if file is None else served_at(file)
    if not address:
        return ""
    use = f"; -m {address} uses it from there" if address.startswith("http") else ""
    return f"{name} is served already at {address}{use}"


def _folder() -> Path:
    return paths.state_dir() / "served"


def _is_held(note: Path) -> bool:
    """Whether whoever wrote it is there; one that was left behind is taken away."""
    try:
        handle = os.open(note, _OPEN)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # A file system without locks: nobody can say.
        return False
    else:
        with suppress(OSError):
            note.unlink()
        return False
    finally:
        os.close(handle)


def _read(note: Path) -> tuple[str, Sequence[str]]:
    try:
        told: Any = read_json(note, _MOST_BYTES)
        return str(told["address"]), [str(file) for file in told["files"]]
    except (OSError, ValueError, KeyError, TypeError):
        return "", ()
