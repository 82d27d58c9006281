"""Themes from TOML: the shipped ones, and the person's own beside their configuration.

A file has `name`, `dark`, `[colors]`, and optional `[colors-256]` and `[colors-16]` with what
should differ on such terminals. A colour that is left out is the default theme's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from textual.color import Color, ColorParseError
from textual.theme import Theme

from llterm.config.theme_names import theme_folders
from llterm.config.toml import TomlFile

DEFAULT = "dusk"
OWN_COLORS = ("faint", "ghost", "bar", "selected", "found")
"""Colours of llterm's, `$faint` and so on in the stylesheet."""
_TEXTUALS = (
    "background", "surface", "panel", "foreground", "primary", "accent", "warning", "error",
    "success",
)  # fmt: skip
_TABLES = ("colors", "colors-256", "colors-16")


@dataclass(slots=True)
class Themes:
    """What was found."""

    themes: dict[str, Theme] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    """A line for each file that could not be used."""

    def choose(self, wanted: str | None) -> str:
        """The theme to start with; an unknown name is a trouble, with the nearest one named."""
        if wanted is None or wanted in self.themes:
            return wanted or DEFAULT
        near = get_close_matches(wanted, self.themes, 1, 0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        self.troubles.append(f"there is no theme {wanted}{hint}")
        return DEFAULT


def load_themes(colors: int, folders: Iterable[Path] | None = None) -> Themes:
    """Read all themes for a terminal of 16, 256 or more colours; own ones replace shipped ones."""
    themes = Themes()
    base: Mapping[str, str] = {}
    for folder in theme_folders() if folders is None else folders:
        files = sorted(folder.glob("*.toml")) if folder.is_dir() else []
        # The default theme first: others fall back on its colours.
        for path in sorted(files, key=lambda one: one.stem != DEFAULT):
            try:
                theme, values = read_theme(path, colors, base)
            except (OSError, ValueError, KeyError) as wrong:
                themes.troubles.append(f"{path.name}: {wrong}")
                continue
            base = base or values
            themes.themes[theme.name] = theme
    return themes


def read_theme(path: Path, colors: int, base: Mapping[str, str]) -> tuple[Theme, Mapping[str, str]]:
    """One file's theme, and its colours by name. Raises ValueError or OSError with the reason."""
    data = TomlFile(path).data
    name = data.get("name", path.stem)
    dark = data.get("dark", True)
    if not isinstance(name, str) or not name.isprintable() or not isinstance(dark, bool):
        raise ValueError("name is a text, dark is true or false")
    for table in set(data) - {"name", "dark", *_TABLES}:
        raise ValueError(f"unknown key {table}{_near(table, _TABLES)}")
    values = dict(base)
    tables = ["colors", *(["colors-256"] * (colors <= 256)), *(["colors-16"] * (colors <= 16))]
    for table in _TABLES:
        checked = _colors(table, data.get(table, {}))
        if table in tables:
            values.update(checked)
    missing = {*OWN_COLORS, *_TEXTUALS} - set(values)
    if missing:
        raise ValueError(f"[colors] has no {', '.join(sorted(missing))}")
    theme = Theme(
        name=name,
        dark=dark,
        **{key: values[key] for key in _TEXTUALS},  # type: ignore[arg-type]
        variables={
            **{key: values[key] for key in OWN_COLORS},
            "border": values["faint"],
            "scrollbar": values["panel"],
            "scrollbar-background": values["surface"],
            "scrollbar-corner-color": values["surface"],
            "block-cursor-background": values["selected"],
            "block-cursor-foreground": values["foreground"],
            "block-cursor-text-style": "none",
            "input-selection-background": values["selected"],
            "footer-key-foreground": values["accent"],
        },
    )
    return theme, values


def _colors(table: str, data: object) -> dict[str, str]:
    if not isinstance(data, Mapping):
        raise ValueError(f"[{table}] is a table")
    known = (*_TEXTUALS, *OWN_COLORS)
    for key, value in data.items():
        if key not in known:
            raise ValueError(f"unknown colour {key} in [{table}]{_near(key, known)}")
        try:
            Color.parse(str(value))
        except ColorParseError as wrong:
            raise ValueError(f"{key} in [{table}] is no colour: {value!r}") from wrong
    return {key: str(value) for key, value in data.items()}


def _near(word: str, known: Iterable[str]) -> str:
    near = get_close_matches(word, list(known), 1, 0.5)
    return f"; did you mean {near[0]}?" if near else ""
