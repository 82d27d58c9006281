"""Which source counts: a typed flag, then LLTERM_* variables, the project's file, the user's file,
choices made in the app, and the defaults."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from llterm import keymap, paths
from llterm.config.read import BUNDLED, ConfigFile
from llterm.config.schema import TABLES, Config, ModelConfig, Origin, Setting, Value, setting
from llterm.core.rules import Rules
from llterm.errors import ConfigError

FOLDERS = ("LLTERM_CONFIG_DIR", "LLTERM_DATA_DIR", "LLTERM_STATE_DIR")
"""Variables that are no settings."""


def load_config(
    flags: Mapping[str, object] | None = None,
    file: Path | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    state: Mapping[str, object] | None = None,
) -> Config:
    """Everything that is set.

    `flags` are typed values by dotted name (`weave.depth`), None where a flag was not typed. `file`
    replaces the user's and the project's configuration. `folder` is where the search for a project
    file begins. `state` are choices made in the app, by dotted name. Raises ConfigError.
    """
    environment = os.environ if environment is None else environment
    found: dict[str, tuple[Value, Origin]] = {}
    notices = _take_state(found, state or {})
    files = [ConfigFile(path) for path in _files(file, folder or Path.cwd())]
    models: dict[str, dict[str, Value]] = {}
    for one in files:
        for name, item in one.values.items():
            where = f"{one.path}:{item.line}" if item.line else str(one.path)
            found[name] = (item.value, Origin("file", where))
        models.update(one.models)
    _take_environment(found, environment)
    _take_flags(found, flags or {})
    keys = {name.removeprefix("keys."): str(value)
            for name, (value, _) in found.items() if name.startswith("keys.")}  # fmt: skip
    keymap.resolve(keys, lambda id: found[f"keys.{id}"][1].detail)
    return Config(
        model=str(found["model"][0]) if "model" in found else Config().model,
        weave=replace(Rules(), **_fields("weave", found)),
        ui=replace(Config().ui, **_fields("ui", found)),
        store=replace(Config().store, **_fields("store", found)),
        keys=keys,
        models={name: _model(name, values, found) for name, values in models.items()},
        files=tuple(one.path for one in files),
        origins={name: origin for name, (_, origin) in found.items()},
        notices=tuple(notices),
    )


def project_file(folder: Path) -> Path | None:
    """The nearest `llterm.toml` from this folder upwards; the user's own is not one."""
    own = paths.user_config()
    for one in (folder, *folder.parents):
        path = one / paths.CONFIG_NAME
        if path.is_file() and path != own:
            return path
    return None


def variable(dotted: str) -> str:
    """The environment variable of a setting: `LLTERM_WEAVE_DEPTH` for `weave.depth`."""
    return "LLTERM_" + dotted.replace(".", "_").upper()


def _files(file: Path | None, folder: Path) -> list[Path]:
    if file is not None:
        return [file]
    user = paths.user_config()
    return [path for path in (user if user.exists() else None, project_file(folder)) if path]


def _take_state(found: dict[str, tuple[Value, Origin]], state: Mapping[str, object]) -> list[str]:
    """Choices that no longer fit are passed over with a notice: the person cannot be asked to
    mend a file that llterm wrote."""
    notices = []
    for name, value in state.items():
        try:
            found[name] = (setting(name).check(value), Origin("state"))
        except (KeyError, ValueError) as wrong:
            notices.append(f"A kept choice was passed over: {name} ({wrong})")
    return notices


def _take_environment(
    found: dict[str, tuple[Value, Origin]], environment: Mapping[str, str]
) -> None:
    names = {
        variable(f"{table}.{row.name}" if table else row.name): (table, row)
        for table, rows in TABLES.items()
        for row in rows
    }
    for name, text in sorted(environment.items()):
        if not name.startswith("LLTERM_") or name in FOLDERS or not text:
            continue
        if name not in names:
            if near := get_close_matches(name, [*names, *FOLDERS], 1, 0.85):
                raise ConfigError(
                    f"Unknown environment variable {name}", "", f"Did you mean {near[0]}?"
                )
            continue
        table, row = names[name]
        dotted = f"{table}.{row.name}" if table else row.name
        try:
            found[dotted] = (row.parse(text), Origin("environment", name))
        except ValueError as wrong:
            raise _wrong(f"the environment variable {name}", row, wrong) from wrong


def _take_flags(found: dict[str, tuple[Value, Origin]], flags: Mapping[str, object]) -> None:
    for dotted, value in flags.items():
        if value is not None and value != []:
            found[dotted] = (checked_flag(dotted, value), Origin("flag", flag_name(dotted)))


def checked_flag(dotted: str, value: object) -> Any:
    """A typed flag's value, if it may be. Raises ConfigError."""
    row = setting(dotted)
    try:
        return row.check(value)
    except ValueError as wrong:
        raise _wrong(flag_name(dotted), row, wrong) from wrong


def flag_name(dotted: str) -> str:
    """`--split-limit` for `weave.split_limit`."""
    return "--" + dotted.rpartition(".")[2].replace("_", "-")


def _wrong(place: str, row: Setting, wrong: ValueError) -> ConfigError:
    allowed = f" ({row.range})" if row.range else ""
    hint = f"{row.name.replace('_', '-')} is a {row.kind}{allowed}: {row.help}"
    return ConfigError(f"Wrong value for {place}", f"{wrong}.", hint)


def _fields(table: str, found: Mapping[str, tuple[Value, Origin]]) -> dict[str, Any]:
    return {
        row.attribute: found[f"{table}.{row.name}"][0]
        for row in TABLES[table]
        if f"{table}.{row.name}" in found
    }


def _model(
    name: str, values: Mapping[str, Value], found: Mapping[str, tuple[Value, Origin]]
) -> ModelConfig:
    known = {one.name for one in fields(ModelConfig)}
    if "path" not in values and name not in BUNDLED:
        some = next((f"models.{name}.{key}" for key in values), "")
        where = f"In {found[some][1].detail}." if some else ""
        raise ConfigError(f"[models.{name}] has no path", where, 'Add path = "…/model.gguf" to it.')
    kept: dict[str, Any] = {key: value for key, value in values.items() if key in known}
    return ModelConfig(**kept)
