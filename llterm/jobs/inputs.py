"""Reads what a command is to work on: a text, a loom, or standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from llterm.errors import UsageError, reason
from llterm.regular_file import open_file, present, read_file, text_of

LOOM = b"SQLite format 3\x00"
MOST_BYTES = 32 << 20


def is_loom(path: Path) -> bool:
    """Whether this is, or is named as, a loom."""
    if path.suffix == ".loom":
        return True
    try:
        with open_file(path) as file:
            return file.read(len(LOOM)) == LOOM
    except OSError:
        return False


def check_is_loom(path: Path) -> None:
    """Raise UsageError where this is no loom, in words that fit what it is."""
    if not present(path):
        raise UsageError(f"There is no loom {path}", "", "Check its name.")
    try:
        with open_file(path) as file:
            head = file.read(len(LOOM))
    except OSError as error:
        raise UsageError(
            f"{path.name} cannot be read", f"{reason(error)}.", "Name a .loom file of yours."
        ) from error
    if head not in (b"", LOOM):
        raise UsageError(f"{path.name} is not a loom", "", "Looms are made by llterm.")


def read_text(path: Path, most: int = MOST_BYTES) -> bytes:
    """A text file's bytes, exactly; editors' mark of UTF-8 is none.

    Raises UsageError where it is missing or no text.
    """
    if not present(path):
        raise UsageError(
            f"There is no file {path}",
            "",
            "Check its name. To begin a new loom, let its name end in .loom.",
        )
    if path.is_dir():
        raise UsageError(f"{path} is a folder", "", "Name a .loom or a text file in it.")
    try:
        if path.stat().st_size > most:
            raise _too_large(path.name, f"{path.stat().st_size:,} bytes", most)
        return text_of(read_file(path, most), path.name)
    except OSError as error:
        raise UsageError(
            f"{path.name} cannot be read",
            f"{reason(error)}.",
            "Name a file that is yours to read.",
        ) from error


def read_stdin() -> bytes:
    """All of standard input. Raises UsageError where it is too much, or no text."""
    if sys.stdin is None:
        raise UsageError("There is no standard input", "", "Name a file, or use --prompt.")
    data = sys.stdin.buffer.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise _too_large("Standard input", f"more than {MOST_BYTES:,} bytes", MOST_BYTES)
    return text_of(data, "standard input")


def argument_text(text: str) -> bytes:
    """The bytes of a text typed as an argument, also where they are not UTF-8."""
    return text_of(text.encode("utf-8", "surrogateescape"), "--prompt")


def _too_large(name: str, size: str, most: int) -> UsageError:
    return UsageError(
        f"{name} is too large for a story",
        f"It has {size}; {most:,} is the most.",
        "Take the part you want to go on from.",
    )
