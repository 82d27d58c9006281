"""Files that are whole or not there: written beside their place, and put there when all is on disk.

What a kill leaves is a hidden `.NAME.….part`. No reader takes it for a file of its own, it stands
in nobody's way, and the next writing of that name sweeps it away. Imports nothing of llterm.
"""

from __future__ import annotations

import errno
import fcntl
import glob
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PART = ".part"
IDLE = 60.0
"""Seconds after which a part that nobody holds is one that a kill left."""
_MOST_NAME = 200
"""Bytes of a name that its part repeats; a file system's limit is 255."""


def write_whole(target: Path, data: bytes, *, private: bool = False, new: bool = False) -> None:
    """Write a file, replacing what is there; with `new`, nothing may be there.

    It keeps the mode of what it replaces. Otherwise the umask decides; a private file is its
    owner's alone. Raises OSError, and what was there stays then.
    """
    if target.exists() and not target.is_file():
        # A pipe or a device: nothing can stand beside it, and a pipe may have no reader.
        handle = os.open(target, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(handle, True)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        return
    with beside(target, new=new) as part:
        mode = 0o600 if private else 0o666
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            with suppress(OSError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not private:
                with suppress(OSError):
                    os.fchmod(handle, stat.S_IMODE(target.stat().st_mode))
            file.write(data)


@contextmanager
def beside(target: Path, *, new: bool = False) -> Iterator[Path]:
    """A path beside the target, where nothing is yet. The file that the block makes there is put
    in the target's place when the block ends, and thrown away where it raises.

    Raises OSError: with `new` FileExistsError where the target is there.
    """
    if new and os.path.lexists(target):
        raise _taken(target)
    place = Path(os.path.realpath(target))
    _sweep(place)
    part = place.with_name(f".{_short(place)}.{secrets.token_hex(4)}{PART}")
    try:
        yield part
        _to_disk(part)
        if new:
            put(part, target)
        else:
            os.replace(part, place)
        with suppress(OSError):  # Not every file system lets a folder be opened.
            _to_disk(place.parent)
    finally:
        _remove(part)


def put(part: Path, target: Path) -> None:
    """Give a file its name, unless that is taken. Raises OSError; FileExistsError where it is."""
    try:
        os.link(part, target)
    except FileExistsError:
        raise
    except OSError:
        # A file system without links, or another reason, which the second try tells.
        if os.path.lexists(target):
            raise _taken(target) from None
        os.rename(part, target)
    else:
        os.unlink(part)


def move(path: Path, target: Path) -> None:
    """Move a file to where nothing is, to another file system too. Raises OSError; then it is
    where it was."""
    if os.path.lexists(target):
        raise _taken(target)
    try:
        # Not `put`: killed between its two steps, a loom would have two names, and two journals.
        os.rename(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with beside(target, new=True) as part:
            shutil.copy2(path, part)
        os.unlink(path)


def _taken(target: Path) -> FileExistsError:
    return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))


def _short(path: Path) -> str:
    return os.fsdecode(os.fsencode(path.name)[:_MOST_NAME])


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(place: Path) -> None:
    """Remove the parts that killed writers of this file left."""
    for old in place.parent.glob(f".{glob.escape(_short(place))}.????????{PART}"):
        with suppress(OSError):
            if time.time() - old.stat().st_mtime > IDLE and _is_idle(old):
                _remove(old)


def _is_idle(path: Path) -> bool:
    handle = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def _remove(part: Path) -> None:
    for name in (part, part.with_name(part.name + "-journal")):
        with suppress(OSError):
            name.unlink()
