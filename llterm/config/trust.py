"""Folders whose `llterm.toml` counts whole.

A project's file comes with a project, perhaps from a stranger. Until the person trusts its folder
once, what `setting_powers.py` guards is passed over: an address, a key's source, a proxy or a
command in it could carry a key or a story away, or run something.
"""

from __future__ import annotations

import os
from pathlib import Path

from llterm import paths
from llterm.errors import UsageError, reason
from llterm.regular_file import read_file
from llterm.whole_file import write_whole

_MOST = 1 << 20
_HEAD = "# Folders whose llterm.toml counts whole. One a line.\n"


def is_trusted(folder: Path) -> bool:
    return str(Path(os.path.realpath(folder))) in _trusted()


def trust(folder: Path) -> None:
    """From now on the file in this very folder counts whole; those below it do not."""
    path = str(Path(os.path.realpath(folder)))
    if "\n" in path:
        raise UsageError("This folder's name has a line break in it", "", "Rename it first.")
    if path not in _trusted():
        _write([*_trusted(), path])


def distrust(folder: Path) -> None:
    """Take it back."""
    _write([one for one in _trusted() if one != str(Path(os.path.realpath(folder)))])


def _trusted() -> list[str]:
    try:
        text = read_file(paths.trust_file(), _MOST).decode("utf-8", "surrogateescape")
    except OSError:
        return []
    return [line for line in text.split("\n") if line and not line.startswith("#")]


def _write(folders: list[str]) -> None:
    path = paths.trust_file()
    paths.made(path.parent)
    try:
        text = _HEAD + "".join(f"{one}\n" for one in folders)
        write_whole(path, text.encode("utf-8", "surrogateescape"), private=True)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written", f"{reason(error)}.", "Check the folder's permissions."
        ) from error
