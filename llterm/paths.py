"""Where llterm keeps things. Folders are made when they are used, not before.

`LLTERM_CONFIG_DIR`, `LLTERM_DATA_DIR` and `LLTERM_STATE_DIR` name other folders; else they are
those of the system (XDG on Linux).
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from llterm.errors import UsageError, reason

CONFIG_NAME = "llterm.toml"


def config_dir() -> Path:
    """The user's `llterm.toml` and own themes."""
    return _folder("config")


def data_dir() -> Path:
    """Looms without a name of their own."""
    return _folder("data")


def state_dir() -> Path:
    """The log, and choices made in the app."""
    return _folder("state")


def user_config() -> Path:
    return config_dir() / CONFIG_NAME


def catalogue_file() -> Path:
    """The person's own short names of models."""
    return config_dir() / "models.toml"


def state_file() -> Path:
    return state_dir() / "state.toml"


def trust_file() -> Path:
    """The folders that the person trusts."""
    return state_dir() / "trusted-folders"


def tried_file() -> Path:
    """Which models' files were tried and may be opened."""
    return state_dir() / "tried-models.json"


def kernels_file() -> Path:
    """Which kernels are fastest for which models' files on this machine."""
    return state_dir() / "fast-kernels.json"


def looms_dir() -> Path:
    return data_dir() / "looms"


def stories_dir() -> Path:
    """The person's own starting stories."""
    return data_dir() / "stories"


def models_dir() -> Path:
    """Models that llterm pulled or quantised."""
    return data_dir() / "models"


def themes_dir() -> Path:
    return config_dir() / "themes"


def new_loom(now: datetime | None = None) -> Path:
    """A path in the data folder for a loom without a name: the date and time of its beginning.

    The folder is made; the file is not.
    """
    stem = (now or datetime.now()).strftime("%Y-%m-%d %H.%M.%S")
    return free(made(looms_dir()) / f"{stem}.loom")


def free(path: Path) -> Path:
    """This path, or one with a number where something is there already."""
    candidate, number = path, 2
    while candidate.exists():
        candidate = path.with_name(f"{path.stem} {number}{path.suffix}")
        number += 1
    return candidate


def log_file() -> Path:
    return state_dir() / "llterm.log"


def made(folder: Path) -> Path:
    """The folder, made with all above it. Raises UsageError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"The folder {folder} cannot be made",
            f"{reason(error)}.",
            "Check its permissions, or name others with LLTERM_CONFIG_DIR, LLTERM_DATA_DIR and"
            " LLTERM_STATE_DIR.",
        ) from error
    return folder


def _folder(kind: str) -> Path:
    own = os.environ.get(f"LLTERM_{kind.upper()}_DIR")
    if own:
        return Path(own).expanduser()
    from platformdirs import PlatformDirs

    return Path(getattr(PlatformDirs("llterm", appauthor=False), f"user_{kind}_dir"))
