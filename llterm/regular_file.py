"""A person's file, opened only where it is one, and the text in it, whatever program saved it.

A named pipe that nobody writes to would hold llterm for ever, and a device might never end. What
is refused is told by an OSError whose `strerror` is a sentence without its full stop, as the
system's own are, so that one `except OSError` serves all.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from llterm.errors import LltermError, UsageError, reason

_HELD = ("/dev/stdin", "/dev/fd/", "/proc/self/fd/")
"""Pipes that are open already, as a shell's `<(command)` gives them: their end comes."""


def open_file(path: Path) -> BinaryIO:
    """An ordinary file to read from. Raises OSError for anything else, without waiting for it."""
    return _opened(path, pipes=False)


def read_file(path: Path, most: int) -> bytes:
    """All of an ordinary file, or of a pipe that a shell holds open.

    `most` is in bytes. Raises OSError, also where there are more.
    """
    with _opened(path, pipes=str(path).startswith(_HELD)) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"It has more than {most:,} bytes", str(path))
    return data


def present(path: Path) -> bool:
    """Whether anything is at a path; nothing is where no file could have such a name.

    Raises OSError where that cannot be told.
    """
    try:
        return path.exists()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False


def refused(error: OSError) -> LltermError:
    """What the system refused, for a person whom nobody nearer to it has told."""
    return LltermError(
        f"{error.filename} cannot be used" if error.filename else "The system refused something",
        f"{reason(error)}.",
        "Check the path, its permissions, and that the disk has room.",
    )


def _opened(path: Path, *, pipes: bool) -> BinaryIO:
    try:
        # Looked at first: to open a device may do something to it.
        _check(path, path.stat().st_mode, pipes)
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError as error:
        raise OSError(errno.EINVAL, "A path cannot hold a zero byte", str(path)) from error
    try:
        _check(path, os.fstat(descriptor).st_mode, pipes)
        os.set_blocking(descriptor, True)
        return os.fdopen(descriptor, "rb")
    except OSError:
        os.close(descriptor)
        raise


def _check(path: Path, mode: int, pipes: bool) -> None:
    if stat.S_ISREG(mode) or (pipes and stat.S_ISFIFO(mode)):
        return
    code, what = errno.EINVAL, "It is a device, not a file"
    if stat.S_ISDIR(mode):
        code, what = errno.EISDIR, "It is a folder"
    elif stat.S_ISFIFO(mode):
        what = "It is a named pipe, not a file"
    elif stat.S_ISSOCK(mode):
        what = "It is a socket, not a file"
    raise OSError(code, what, str(path))


MARK = b"\xef\xbb\xbf"
"""What some editors put before UTF-8. It is no part of the text."""


def text_of(data: bytes, name: str) -> bytes:
    """The text itself. Raises UsageError where it is none, or not in UTF-8."""
    if data.startswith(b"GGUF"):
        raise UsageError(f"{name} is a model, not a text", "", "Give it with -m (--model).")
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UsageError(f"{name} is UTF-16 text", "", "Save it as UTF-8.")
    if b"\0" in data:
        raise UsageError(
            f"{name} is not a text",
            f"It has a zero byte at position {data.index(0):,}.",
            "llterm reads UTF-8 text and .loom files.",
        )
    return data.removeprefix(MARK)
