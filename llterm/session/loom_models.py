"""Which model was chosen for which loom, on this machine.

A loom itself does not say: it may be a stranger's, and a model is a path or where a story goes.
"""

from __future__ import annotations

from pathlib import Path

from llterm import paths
from llterm.json_file import keep_json, read_json

MOST_LOOMS = 1000
"""Looms whose model is remembered; beyond, the choice made longest ago goes."""
_MOST_BYTES = 1 << 20


def chosen_model(loom: Path) -> str | None:
    """What names the loom's model in any folder; None where the configured one is meant."""
    return _read().get(str(loom.absolute()))


def choose_model(loom: Path, model: str | None) -> None:
    """Remember a loom's model; None forgets it."""
    chosen = _read()
    chosen.pop(str(loom.absolute()), None)
    if model is not None:
        chosen[str(loom.absolute())] = model
    keep_json(_file(), dict(list(chosen.items())[-MOST_LOOMS:]))


def move_model(before: Path, after: Path) -> None:
    """A loom has another path now."""
    model = chosen_model(before)
    if model is not None:
        choose_model(before, None)
        choose_model(after, model)


def _file() -> Path:
    return paths.state_dir() / "loom-models.json"


def _read() -> dict[str, str]:
    try:
        chosen = read_json(_file(), _MOST_BYTES)
        return {str(loom): model for loom, model in chosen.items() if isinstance(model, str)}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
