"""Reads one `llterm.toml`, strictly: a mistake names file, line, key and the nearest valid one."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from llterm.config.schema import FORMAT, MODEL, PRESET, SERVER, TABLES
from llterm.config.server_settings import ServerSettings
from llterm.config.setting import Setting, Value
from llterm.config.toml import Keys, NotToml, TomlFile
from llterm.core.sampling.sampler_settings import PRESETS
from llterm.errors import ConfigError, reason

BUNDLED = ("fable", "fable-q8_0", "scripted")
"""Names of models that llterm brings along."""
MOST_SAID = 300
"""Characters of a part of a message."""
_ACTION = re.compile(r"[A-Za-z0-9._-]{1,60}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FIXED = (
    "weave",
    "sampling",
    "presets",
    "mix",
    "store",
    "serve",
    "ui",
    "keys",
    "models",
    "formats",
)
PRESET_NAMES = (
    "Use letters, digits, dots, hyphens and underscores, and none of llterm's own: "
    f"{', '.join(PRESETS)}, custom."
)


def preset_name(name: str) -> bool:
    """Whether a person's preset may be called so."""
    return bool(_NAME.fullmatch(name)) and name not in (*PRESETS, "custom")


@dataclass(frozen=True, slots=True)
class ReadValue:
    """One value of a file."""

    value: Value
    keys: Keys
    """As they stand there, for its line."""


class ConfigFile:
    """One file's values, by dotted name such as `weave.depth` or `models.NAME.path`."""

    def __init__(self, path: Path) -> None:
        """Reads and checks. Raises ConfigError."""
        self.path = path
        self._file = self._read()
        self.values: dict[str, ReadValue] = {}
        self.models: dict[str, dict[str, Value]] = {}
        data = self._file.data
        for key, value in data.items():
            if key in _FIXED and not isinstance(value, Mapping):
                raise self._mistake((key,), f"[{key}] is a table", "", f"Write it as [{key}].")
        self._table("", {key: value for key, value in data.items() if key not in _FIXED})
        for name in ("weave", "sampling", "mix", "store", "serve", "ui"):
            self._table(name, data.get(name, {}))
        self.presets: dict[str, dict[str, Value]] = {}
        for name, table in data.get("presets", {}).items():
            self._preset(name, table)
        self._keys(data.get("keys", {}))
        for name, table in data.get("models", {}).items():
            self._model(name, table)
        self.formats: dict[str, dict[str, Value]] = {}
        for name, table in data.get("formats", {}).items():
            self._format(name, table)

    def forget(self, name: str) -> None:
        """Leave out a value, by its dotted name; a whole model, or all keys."""
        model = name.removeprefix("models.")
        if name == "keys":
            gone = [dotted for dotted in self.values if dotted.startswith("keys.")]
        elif model != name:
            gone = [f"{name}.{key}" for key in self.models.pop(model)]
        else:
            gone = [name]
        for dotted in gone:
            del self.values[dotted]

    def place(self, keys: Keys) -> str:
        """File and line of a key, as editors write it."""
        line = self._file.line(keys)
        return f"{self.path}:{line}" if line else str(self.path)

    def where(self, keys: Sequence[str]) -> str:
        """File and line of a key, for people."""
        line = self._file.line(keys)
        return f"{self.path}, line {line}" if line else str(self.path)

    def _read(self) -> TomlFile:
        try:
            return TomlFile(self.path)
        except NotToml as error:
            raise ConfigError(
                f"{self.path.name} {error.title}", f"{self.path}, {error.where}.", error.hint
            ) from error
        except OSError as error:
            raise ConfigError(
                "The configuration cannot be read",
                f"{self.path}: {reason(error)}.",
                "`llterm config path` shows which files are read.",
            ) from error

    def _table(self, table: str, data: Mapping[str, object]) -> None:
        for setting, keys, value in self._settings(table, TABLES[table], data, (table,)):
            checked = self._checked(setting, keys, value)
            name = ".".join(filter(None, (table, setting.name)))
            self.values[name] = ReadValue(checked, keys)

    def _named_table(self, keys: Keys, table: object, holds: str) -> Mapping[str, object]:
        """A table of the person's own naming, which `holds` what belongs in it."""
        if isinstance(table, Mapping):
            return table
        name = ".".join(keys)
        raise self._mistake(keys, f"{name} is a table", "", f"Write [{name}] and {holds} below.")

    def _preset(self, name: str, table: object) -> None:
        keys = ("presets", name)
        table = self._named_table(keys, table, "knobs")
        if not preset_name(name):
            raise self._mistake(keys, f'"{name}" cannot be a preset\'s name', "", PRESET_NAMES)
        self.presets[name] = {}
        for setting, path, value in self._settings(f"presets.{name}", PRESET, table, keys):
            self.presets[name][setting.name] = self._checked(setting, path, value)

    def _format(self, name: str, table: object) -> None:
        keys = ("formats", name)
        table = self._named_table(keys, table, "its texts")
        if not _NAME.fullmatch(name):
            raise self._mistake(
                keys, f'"{name}" cannot be a format\'s name', "",
                "Use letters, digits, dots, hyphens and underscores.",
            )  # fmt: skip
        self.formats[name] = {}
        for setting, path, value in self._settings(f"formats.{name}", FORMAT, table, keys):
            checked = self.formats[name][setting.name] = self._checked(setting, path, value)
            self.values[f"formats.{name}.{setting.name}"] = ReadValue(checked, path)
        if not any(key.startswith(("user", "assistant")) for key in self.formats[name]):
            raise self._mistake(
                keys, f"[formats.{name}] says nothing of who speaks", "",
                "Set user_start, user_end and assistant_start at least.",
            )  # fmt: skip

    def _model(self, name: str, table: object) -> None:
        keys = ("models", name)
        table = self._named_table(keys, table, "its path")
        if not _NAME.fullmatch(name) or name.endswith(".gguf"):
            raise self._mistake(
                keys, f'"{name}" cannot be a model\'s name', "",
                "Use letters, digits, dots, hyphens and underscores; it does not end in .gguf.",
            )  # fmt: skip
        if name == "scripted":
            raise self._mistake(keys, "The model scripted has no settings", "", "Choose a name.")
        values: dict[str, Value] = {}
        for setting, path, value in self._settings(
            f"models.{name}", (*MODEL, *SERVER), table, keys
        ):
            checked = self._checked(setting, path, value)
            if isinstance(checked, Path):
                checked = self.path.parent / checked.expanduser()
            values[setting.name] = checked
            self.values[f"models.{name}.{setting.name}"] = ReadValue(checked, path)
        if {"chat_template", "chat_template_file"} <= values.keys():
            raise self._mistake(
                (*keys, "chat_template_file"), "Two chat templates are set",
                "chat_template names one too", "Keep one of them.",
            )  # fmt: skip
        self.models[name] = values
        self._server(name, values)

    def _server(self, name: str, values: Mapping[str, Value]) -> None:
        """What one model sets together must make sense: a file's settings, or a server's."""
        on_server = "base_url" in values
        if on_server and name in BUNDLED:
            raise self._mistake(
                ("models", name, "base_url"), f"{name} is a bundled model", "It needs no server",
                "Choose another name.",
            )  # fmt: skip
        strange = {row.name for row in (MODEL if on_server else SERVER)} - _BOTH
        if other := next((key for key in values if key in strange), None):
            keys = ("models", name, other)
            if on_server:
                raise self._mistake(
                    keys, f"{other} does not go with base_url", "",
                    "Settings of a file do not count for a model on a server.",
                )  # fmt: skip
            raise self._mistake(
                keys, f"{other} needs a base_url", "", f"Add base_url to [models.{name}]."
            )
        if not on_server:
            return
        fields: dict[str, Any] = {key: value for key, value in values.items() if key != "context"}
        for key, why, hint in ServerSettings(**fields).mistakes():
            raise self._mistake(
                ("models", name, key), f"Wrong value for models.{name}.{key}", f": {why}", hint
            )

    def _keys(self, data: object) -> None:
        assert isinstance(data, Mapping)
        for path, value in _flattened(data):
            keys, id = ("keys", *path), ".".join(path)
            if not _ACTION.fullmatch(id):
                raise self._mistake(
                    keys, f"There is no action {id}", "", "`llterm keys` lists them all."
                )
            if isinstance(value, list) and all(isinstance(one, str) for one in value):
                value = ",".join(value)
            if not isinstance(value, str):
                raise self._mistake(
                    keys, f"The keys of {id} are not a text", "", f'Write "{id}" = "ctrl+j,f6".'
                )
            if not value.isprintable() or len(value) > MOST_SAID:
                raise self._mistake(
                    keys, f"The keys of {id} are no names of keys", f": {value}",
                    f'Write "{id}" = "ctrl+j,f6".',
                )  # fmt: skip
            self.values[f"keys.{id}"] = ReadValue(value, keys)

    def _settings(
        self,
        table: str,
        rows: Sequence[Setting],
        data: Mapping[str, object],
        keys: tuple[str, ...],
    ) -> Iterator[tuple[Setting, tuple[str, ...], object]]:
        """Known settings with their key path; hyphens in names are as good as underscores."""
        names = {row.name: row for row in rows}
        seen: dict[str, str] = {}
        for key, value in data.items():
            path = (*filter(None, keys), key)
            row = names.get(key.replace("-", "_"))
            if row is None:
                known = [*names, *(_FIXED if not table else ())]
                raise self._unknown(table, key, path, known)
            if row.name in seen:
                raise self._mistake(
                    path, f"{key} is set twice", f"Also as {seen[row.name]}.", "Keep one of them."
                )
            seen[row.name] = key
            yield row, path, value

    def _unknown(
        self, table: str, key: str, path: tuple[str, ...], known: Iterable[str]
    ) -> ConfigError:
        where = f" in [{table}]" if table else ""
        near = get_close_matches(key.replace("-", "_"), list(known), 1, 0.5)
        if home := next((one for one, rows in TABLES.items() if _has(rows, key)), None):
            hint = f"{key} belongs in [{home}]."
        elif near:
            hint = f"Did you mean {near[0]}?"
        else:
            hint = f"Known here: {', '.join(known)}."
        return self._mistake(path, f"Unknown key {key}{where}", "", hint)

    def _checked(self, setting: Setting, keys: tuple[str, ...], value: object) -> Value:
        try:
            return setting.check(value)
        except ValueError as wrong:
            allowed = f" ({setting.range})" if setting.range else ""
            raise self._mistake(
                keys,
                f"Wrong value for {'.'.join(keys)}",
                f": {wrong}",
                f"{setting.name} is a {setting.kind}{allowed}: {setting.help}",
            ) from wrong

    def _mistake(self, keys: Sequence[str], title: str, cause: str, hint: str) -> ConfigError:
        more = cause if cause.startswith(":") or not cause else f". {cause.rstrip('.')}"
        return ConfigError(inert(title), f"{self.where(keys)}{inert(more)}.", hint)


_BOTH = {"context", "chat_template", "chat_template_file"}
"""Settings of files that count for servers too."""


def _has(rows: Iterable[Setting], key: str) -> bool:
    return any(row.name == key.replace("-", "_") for row in rows)


def inert(text: str) -> str:
    """What a file says, within a message: on one line, not too long, no control characters."""
    # Not before there is something to say: every command reads a configuration.
    from llterm.core.display_text import label_text

    cut = text if len(text) <= MOST_SAID else text[: MOST_SAID - 1] + "…"
    return label_text(cut)


def _flattened(data: Mapping[str, object], before: Keys = ()) -> Iterator[tuple[Keys, object]]:
    """`weave.start = …` is a table in TOML when it is not in quotes; both are meant alike."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, (*before, key))
        else:
            yield (*before, key), value
