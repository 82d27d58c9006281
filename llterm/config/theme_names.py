"""Which themes there are, by name: llterm's own, and the person's beside their configuration."""

from __future__ import annotations

from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from llterm import paths
from llterm.config.schema import Config
from llterm.config.toml import TomlFile
from llterm.errors import ConfigError


def shipped_folder() -> Path:
    """Where the themes of llterm lie: in the package, or in a clone beside it."""
    package = Path(__file__).parents[1]
    inside = package / "themes"
    return inside if inside.is_dir() else package.parent / "themes"


def theme_folders() -> tuple[Path, Path]:
    """The later one counts more."""
    return shipped_folder(), paths.themes_dir()


def check_theme(config: Config) -> None:
    """Raises ConfigError, naming the nearest, where there is no theme of the name that is set."""
    wanted, names = config.ui.theme, _names()
    if wanted is None or wanted in names:
        return
    near = get_close_matches(wanted, names, 1, 0.4)
    raise ConfigError(
        f"There is no theme {wanted}",
        f"In {config.origins['ui.theme'].detail}.",
        f"Did you mean {near[0]}?" if near else f"There are: {', '.join(names)}.",
    )


def _names() -> list[str]:
    """Of all files that are themes, read or not: what is wrong in one is for the app to say."""
    names: dict[str, None] = {}
    for path in (path for folder in theme_folders() for path in sorted(folder.glob("*.toml"))):
        with suppress(OSError, ValueError):
            names[str(TomlFile(path).data.get("name", path.stem))] = None
    return list(names)
