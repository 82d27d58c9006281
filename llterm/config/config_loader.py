"""Which source counts: a typed flag, then LLTERM_* variables, the project's file, the user's file,
choices made in the app, and the defaults."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

from llterm import keymap, paths
from llterm.config.sampling_values import CHAIN, changed, make_preset
from llterm.config.schema import (
    SAMPLING,
    TABLES,
    Config,
    FormatConfig,
    ModelConfig,
    preset_setting,
    setting,
)
from llterm.config.server_settings import ServerSettings
from llterm.config.setting import Origin, Setting, Value
from llterm.config.setting_powers import needs_trust
from llterm.config.trust import is_trusted
from llterm.config.value_reader import BUNDLED, ConfigFile, inert, preset_name
from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings, Sampling
from llterm.core.weave_settings import WeaveSettings
from llterm.errors import ConfigError

Settings = dict[str, tuple[Value, Origin]]

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
    file begins. `state` are choices made in the app, by dotted name (`llterm.state`): only the app
    gives them. Raises ConfigError.
    """
    environment = os.environ if environment is None else environment
    settings: Settings = {}
    presets: dict[str, SamplerSettings] = {}
    notices = _take_state(settings, presets, state or {})
    files = [ConfigFile(path) for path in _files(file, folder or Path.cwd())]
    if file is None:
        own = [name for source in files for name, values in source.models.items()
               if source.path == paths.user_config() and "base_url" in values]  # fmt: skip
        notices += [notice for source in files for notice in _pass_over_strangers(source, own)]
    models: dict[str, ConfigFile] = {}
    formats: dict[str, FormatConfig] = {}
    for source in files:
        _take(settings, {
            name: (item.value, Origin("file", partial(source.place, item.keys)))
            for name, item in source.values.items()
        })  # fmt: skip
        models.update(dict.fromkeys(source.models, source))
        formats.update((name, _format(values)) for name, values in source.formats.items())
        presets.update((name, make_preset(values)) for name, values in source.presets.items())
    _take_environment(settings, environment)
    _take_flags(settings, flags or {})
    keys = {name.removeprefix("keys."): str(value)
            for name, (value, _) in settings.items() if name.startswith("keys.")}  # fmt: skip
    known = {**PRESETS, **presets}
    parallel = settings["parallel"][0] if "parallel" in settings else None
    keymap.resolve(keys, lambda id: settings[f"keys.{id}"][1].detail)
    return Config(
        model=str(settings["model"][0]) if "model" in settings else Config().model,
        parallel=parallel if isinstance(parallel, int) else None,
        weave=replace(WeaveSettings(), **_fields("weave", settings)),
        sampling=_sampling(settings, known),
        presets=known,
        ui=replace(Config().ui, **_fields("ui", settings)),
        mix=replace(Config().mix, **_fields("mix", settings)),
        store=replace(Config().store, **_fields("store", settings)),
        serve=replace(Config().serve, **_fields("serve", settings)),
        keys=keys,
        models={name: _model(name, source) for name, source in models.items()},
        formats=formats,
        files=tuple(source.path for source in files),
        origins={name: origin for name, (_, origin) in settings.items()},
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


def _pass_over_strangers(file: ConfigFile, servers: Collection[str]) -> list[str]:
    """Leave out what a project's file may set only with trust; a notice for each."""
    folder = file.path.parent
    if file.path == paths.user_config() or is_trusted(folder):
        return []
    reasons: dict[str, dict[str, None]] = {}
    for name, item in file.values.items():
        if guarded := needs_trust(name, item.value, folder, servers):
            reasons.setdefault(guarded[0], {})[guarded[1]] = None
    for name in reasons:
        file.forget(name)
    command = f"llterm config trust {shlex.quote(str(folder))}"
    return [
        _safe(f"{_named(what)} in {file.path} was passed over: it {_both(why)}. If you know this"
               f" file and want it: {command}")
        for what, why in reasons.items()
    ]  # fmt: skip


def _named(dotted: str) -> str:
    return f"[{dotted}]" if dotted == "keys" or dotted.startswith("models.") else dotted


def _both(reasons: Iterable[str]) -> str:
    return " and ".join(reasons).replace(" and sets ", " and ")


def _safe(notice: str) -> str:
    from llterm.core.display_text import area_text

    return area_text(notice)


def _take(settings: Settings, values: Settings) -> None:
    """Values that count more than those found so far.

    Where they name a preset, no knob from before changes that: it belonged to another one.
    """
    if "sampling.preset" in values:
        for name in CHAIN:
            settings.pop(f"sampling.{name}", None)
    settings.update(values)


def _take_state(
    settings: Settings, presets: dict[str, SamplerSettings], state: Mapping[str, object]
) -> list[str]:
    """Choices that no longer fit are passed over with a notice: the person cannot be asked to
    mend a file that llterm wrote."""
    notices = []
    for name, value in state.items():
        try:
            if isinstance(value, Mapping):
                presets[_preset_name(name)] = make_preset(
                    {key: preset_setting(key).check(one) for key, one in value.items()}
                )
            else:
                settings[name] = (setting(name).check(value), Origin("state"))
        except (KeyError, ValueError) as wrong:
            notices.append(f"A kept choice was passed over: {name} ({wrong})")
    return notices


def _preset_name(dotted: str) -> str:
    table, _, name = dotted.partition(".")
    if table != "presets" or not preset_name(name):
        raise KeyError(dotted)
    return name


def _take_environment(settings: Settings, environment: Mapping[str, str]) -> None:
    values: Settings = {}
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
            values[dotted] = (row.parse(text), Origin("environment", name))
        except ValueError as wrong:
            raise _wrong(f"the environment variable {name}", row, wrong) from wrong
    _take(settings, values)


def _take_flags(settings: Settings, flags: Mapping[str, object]) -> None:
    _take(settings, {
        dotted: (checked_flag(dotted, value), Origin("flag", flag_name(dotted)))
        for dotted, value in flags.items()
        if value is not None and value != []
    })  # fmt: skip


def _sampling(settings: Settings, presets: Mapping[str, SamplerSettings]) -> Sampling:
    """All of it together; a mistake names where it stands."""
    made = Sampling()
    for row in SAMPLING:
        dotted = f"sampling.{row.name}"
        if dotted not in settings:
            continue
        value, origin = settings[dotted]
        try:
            made = changed(made, row.name, value, presets)
        except ValueError as wrong:
            raise ConfigError(
                f"Wrong value for {dotted}", f"{origin.detail}: {inert(str(wrong))}.", row.help
            ) from wrong
    return made


def checked_flag(dotted: str, value: object) -> Any:
    """A typed flag's value, if it may be. Raises ConfigError."""
    row = setting(dotted)
    try:
        return row.parse(value) if row.is_typed and isinstance(value, str) else row.check(value)
    except ValueError as wrong:
        raise _wrong(flag_name(dotted), row, wrong) from wrong


def flag_name(dotted: str) -> str:
    """`--split-limit` for `weave.split_limit`."""
    return "--" + dotted.rpartition(".")[2].replace("_", "-")


def _wrong(place: str, row: Setting, wrong: ValueError) -> ConfigError:
    allowed = f" ({row.range})" if row.range else ""
    hint = f"{row.name.replace('_', '-')} is a {row.kind}{allowed}: {row.help}"
    return ConfigError(f"Wrong value for {place}", f"{inert(str(wrong))}.", hint)


def _fields(table: str, settings: Settings) -> dict[str, Any]:
    return {
        row.attribute: settings[f"{table}.{row.name}"][0]
        for row in TABLES[table]
        if f"{table}.{row.name}" in settings
    }


def _format(values: Mapping[str, Any]) -> FormatConfig:
    return FormatConfig(**values)


def _model(name: str, file: ConfigFile) -> ModelConfig:
    values = file.models[name]
    if "path" not in values and "base_url" not in values and name not in BUNDLED:
        raise ConfigError(
            f"[models.{name}] has no path and no base_url",
            f"In {file.where(('models', name))}.",
            'Add path = "…/model.gguf" for a file, or base_url = "http://…" for a server.',
        )
    fields: dict[str, Any] = dict(values)
    if "base_url" not in values:
        return ModelConfig(**fields)
    context = fields.pop("context", None)
    return ModelConfig(context=context, server=ServerSettings(**fields))
