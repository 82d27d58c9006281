"""Reads one `llterm.toml`, strictly: a mistake names file, line, key and the nearest valid one."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from llterm.config.schema import MODEL, PRESET, SERVER, TABLES, Setting, Value
from llterm.config.server import GUARDED, ServerSettings, is_address
from llterm.core.sampler import PRESETS
from llterm.errors import ConfigError
from llterm.regular import read_file

BUNDLED = ("fable", "fable-q8_0", "scripted")
"""Names of models that llterm brings along."""
MOST_BYTES = 1 << 20
_AT = re.compile(r" \(at line (\d+), column (\d+)\)| \(at end of document\)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FIXED = ("weave", "sampling", "presets", "mix", "store", "ui", "keys", "models")
PRESET_NAMES = (
    "Use letters, digits, dots, hyphens and underscores, and none of llterm's own: "
    f"{', '.join(PRESETS)}, custom."
)


def preset_name(name: str) -> bool:
    """Whether a person's preset may be called so."""
    return bool(_NAME.fullmatch(name)) and name not in (*PRESETS, "custom")


@dataclass(frozen=True, slots=True)
class Found:
    """One value of a file."""

    value: Value
    line: int


class ConfigFile:
    """One file's values, by dotted name such as `weave.depth` or `models.NAME.path`."""

    def __init__(self, path: Path) -> None:
        """Reads and checks. Raises ConfigError."""
        self.path = path
        self._text = self._read()
        self.values: dict[str, Found] = {}
        self.models: dict[str, dict[str, Value]] = {}
        data = self._parse()
        for key, value in data.items():
            if key in _FIXED and not isinstance(value, Mapping):
                raise self._mistake((key,), f"[{key}] is a table", "", f"Write it as [{key}].")
        self._table("", {key: value for key, value in data.items() if key not in _FIXED})
        for name in ("weave", "sampling", "mix", "store", "ui"):
            self._table(name, data.get(name, {}))
        self.presets: dict[str, dict[str, Value]] = {}
        for name, table in data.get("presets", {}).items():
            self._preset(name, table)
        self._keys(data.get("keys", {}))
        for name, table in data.get("models", {}).items():
            self._model(name, table)

    def forget_guarded(self) -> dict[str, list[str]]:
        """Leave out the models that need trust in this file's folder; what each sets of that."""
        found = {name: [key for key in values if key in GUARDED]
                 for name, values in self.models.items()}  # fmt: skip
        found = {name: keys for name, keys in found.items() if keys}
        for name in found:
            for key in self.models.pop(name):
                del self.values[f"models.{name}.{key}"]
        return found

    def forget_address(self) -> bool:
        """Leave out a `model` that is a server's address; whether there was one."""
        item = self.values.get("model")
        if item is None or not is_address(str(item.value)):
            return False
        del self.values["model"]
        return True

    def line(self, keys: Sequence[str]) -> int:
        """The line on which this key is set; 0 where that cannot be told."""
        lines = self._text.splitlines(keepends=True)
        start = 0
        for stop in range(1, min(len(lines), 5000) + 1):
            try:
                data: object = tomllib.loads("".join(lines[:stop]))
            except tomllib.TOMLDecodeError:
                continue
            for key in keys:
                data = data.get(key, _MISSING) if isinstance(data, Mapping) else _MISSING
            if data is not _MISSING:
                return start + 1
            start = stop
        return 0

    def where(self, keys: Sequence[str]) -> str:
        """File and line of a key, for people."""
        line = self.line(keys)
        return f"{self.path}, line {line}" if line else str(self.path)

    def _read(self) -> str:
        try:
            text = read_file(self.path, MOST_BYTES).decode("utf-8")
            return text.removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            raise ConfigError(
                f"{self.path.name} is not UTF-8 text",
                f"{self.path}, byte {error.start}.",
                "Save it as UTF-8.",
            ) from error
        except OSError as error:
            raise ConfigError(
                "The configuration cannot be read",
                f"{self.path}: {error.strerror or error}.",
                "`llterm config path` shows which files are read.",
            ) from error

    def _parse(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            at = _AT.search(str(error))
            line = at.group(1) if at else None
            what = _AT.sub("", str(error))
            raise ConfigError(
                f"{self.path.name} is not valid TOML",
                f"{self.path}, line {line or len(self._text.splitlines())}: {what}.",
                'Text needs quotes, each setting its own line: depth = 12, theme = "…".',
            ) from error

    def _table(self, table: str, data: Mapping[str, object]) -> None:
        for setting, keys, value in self._settings(table, TABLES[table], data, (table,)):
            found = self._checked(setting, keys, value)
            name = ".".join(filter(None, (table, setting.name)))
            self.values[name] = Found(found, self.line(keys))

    def _preset(self, name: str, table: object) -> None:
        keys = ("presets", name)
        if not isinstance(table, Mapping):
            raise self._mistake(
                keys, f"presets.{name} is a table", "", f"Write [presets.{name}] and knobs below."
            )
        if not preset_name(name):
            raise self._mistake(keys, f'"{name}" cannot be a preset\'s name', "", PRESET_NAMES)
        self.presets[name] = {}
        for setting, path, value in self._settings(f"presets.{name}", PRESET, table, keys):
            self.presets[name][setting.name] = self._checked(setting, path, value)

    def _model(self, name: str, table: object) -> None:
        keys = ("models", name)
        if not isinstance(table, Mapping):
            hint = f"Write [models.{name}] and its path below."
            raise self._mistake(keys, f"models.{name} is a table", "", hint)
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
            found = self._checked(setting, path, value)
            if isinstance(found, Path):
                found = self.path.parent / found.expanduser()
            values[setting.name] = found
            self.values[f"models.{name}.{setting.name}"] = Found(found, self.line(path))
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
        for id, value in _flattened(data):
            keys = ("keys", id) if id in data else ("keys", *id.split("."))
            if isinstance(value, list) and all(isinstance(one, str) for one in value):
                value = ",".join(value)
            if not isinstance(value, str):
                raise self._mistake(
                    keys, f"The keys of {id} are not a text", "", f'Write "{id}" = "ctrl+j,f6".'
                )
            self.values[f"keys.{id}"] = Found(value, self.line(keys))

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
        return ConfigError(title, f"{self.where(keys)}{more}.", hint)


_BOTH = {"context", "chat_template"}
"""Settings of files that count for servers too."""
_MISSING = object()


def _has(rows: Iterable[Setting], key: str) -> bool:
    return any(row.name == key.replace("-", "_") for row in rows)


def _flattened(data: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    """`weave.start = …` is a table in TOML when it is not in quotes; both are meant alike."""
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flattened(value, f"{before}{key}.")
        else:
            yield before + key, value
