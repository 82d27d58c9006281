"""What `llterm config …` does, and the settings as every command, and the app, reads them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llterm import paths
from llterm.config import Config, load_config
from llterm.config.config_loader import project_file
from llterm.config.example import example, literal
from llterm.config.sampling_values import preset_values, value_of
from llterm.config.schema import FORMAT, MODEL, SERVER, TABLES, setting
from llterm.core.sampling.sampler_settings import PRESETS
from llterm.errors import UsageError, reason
from llterm.output import say
from llterm.regular_file import present
from llterm.whole_file import write_whole


def load(flags: Mapping[str, Any] | None = None, file: Path | None = None) -> Config:
    """Flags, variables and files together, as a command obeys them. Raises ConfigError."""
    return _told(load_config(flags, file))


def load_app(flags: Mapping[str, Any] | None = None, file: Path | None = None) -> Config:
    """The same with the choices that were made in the app; only the app obeys those.

    Raises ConfigError.
    """
    from llterm.state import read_state

    state = read_state()
    if state.notice:
        say(f"llterm: {state.notice}")
    return _told(load_config(flags, file, state=state.values))


def _told(config: Config) -> Config:
    for notice in config.notices:
        say(f"llterm: {notice}")
    return config


def init() -> str:
    """Write the example as the user's file; the words to say so."""
    path = paths.user_config()
    if path.exists():
        raise UsageError(
            "There is a configuration already",
            f"{path} is never overwritten.",
            "Edit it, or move it away first.",
        )
    paths.made(path.parent)
    try:
        write_whole(path, example().encode("utf-8"), new=True)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be written", f"{reason(error)}.", "Check the folder's permissions."
        ) from error
    return f"Wrote {path}"


def show(config: Config, *, origin: bool) -> str:
    """Every setting in force, as TOML; with origins as comments."""
    blocks = []
    for table, rows in TABLES.items():
        values = {
            "": config,
            "weave": config.weave,
            "sampling": None,
            "mix": config.mix,
            "store": config.store,
            "serve": config.serve,
            "ui": config.ui,
        }[table]
        lines = [f"[{table}]"] if table else []
        for row in rows:
            name = f"{table}.{row.name}" if table else row.name
            value = (
                getattr(values, row.attribute) if values else value_of(config.sampling, row.name)
            )
            lines.append(_line(config, name, row.name, value, origin))
        blocks.append(lines)
    for preset, settings in config.presets.items():
        if preset not in PRESETS:
            lines = [f"[presets.{literal(preset) if '.' in preset else preset}]"]
            knobs = preset_values(settings).items()
            blocks.append([*lines, *(f"{name} = {literal(value)}" for name, value in knobs)])
    for model, known in config.models.items():
        lines = [f"[models.{literal(model) if '.' in model else model}]"]
        for row in (setting("models.context"), *SERVER) if known.server else MODEL:
            name = f"models.{model}.{row.name}"
            owner = known if row in MODEL else known.server
            lines.append(_line(config, name, row.name, getattr(owner, row.name), origin))
        blocks.append(lines)
    for form, texts in config.formats.items():
        lines = [f"[formats.{literal(form) if '.' in form else form}]"]
        lines += [
            _line(config, f"formats.{form}.{row.name}", row.name, getattr(texts, row.name), origin)
            for row in FORMAT
        ]
        blocks.append(lines)
    if config.keys:
        lines = ["[keys]"]
        lines += [
            _line(config, f"keys.{id}", literal(id), keys, origin)
            for id, keys in config.keys.items()
        ]
        blocks.append(lines)
    return "\n\n".join("\n".join(lines) for lines in blocks)


def check(file: Path | None) -> str:
    """Raises ConfigError at the first mistake; otherwise says what was read."""
    from llterm.config.theme_names import check_theme

    config = load_config(file=file)
    check_theme(config)
    for name, model in config.models.items():
        if model.path is not None and not present(model.path):
            raise UsageError(
                f"The file of model {name} is missing",
                f"{config.origins[f'models.{name}.path'].detail}: there is no {model.path}.",
                "Correct its path.",
            )
        template = (model.server or model).chat_template_file
        if template is not None and not present(template):
            raise UsageError(
                f"The chat template of model {name} is missing",
                f"{config.origins[f'models.{name}.chat_template_file'].detail}: there is no"
                f" {template}.",
                "Correct its path.",
            )
    if not config.files:
        return "There is no configuration file; the defaults hold. `llterm config init` writes one."
    return "\n".join([*config.notices, *(f"{path}: no mistakes" for path in config.files)])


def files(file: Path | None) -> str:
    """The files that are read, and the user's also where it is not there yet."""
    if file is not None:
        return str(file)
    user = paths.user_config()
    lines = [str(user) if user.exists() else f"{user} (not there yet)"]
    project = project_file(Path.cwd())
    return "\n".join([*lines, *([str(project)] if project else [])])


def trust_folder(folder: Path, *, revoke: bool) -> str:
    """Trust a folder's configuration, or no longer; the words to say so."""
    from llterm.config.trust import distrust, trust

    path = Path(os.path.realpath(folder)) / paths.CONFIG_NAME
    if revoke:
        distrust(folder)
        return f"{path} no longer counts whole: what needs trust is passed over"
    if not path.is_file():
        raise UsageError(f"There is no {path}", "", "Name the folder in which it lies.")
    trust(folder)
    return f"{path} counts whole now: addresses, key sources and all else that needs trust"


def _line(config: Config, name: str, key: str, value: object, origin: bool) -> str:
    text = f"# {key} is not set" if value is None else f"{key} = {literal(value)}"
    if not origin:
        return text
    found = config.origins.get(name)
    return f"{text:<34} # {found or 'default'}"
