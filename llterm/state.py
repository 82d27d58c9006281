"""Choices made in the app, kept between starts: theme, model, weave settings.

They lie in a file of llterm's own; the person's `llterm.toml` is never rewritten and counts more.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

from llterm import paths
from llterm.config.schema import WEAVE
from llterm.config.toml import NotToml, TomlFile
from llterm.core.weave_settings import WeaveSettings
from llterm.whole_file import write_whole

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """What was kept: values by dotted setting name, and a notice where a file was set aside."""

    values: Mapping[str, object]
    notice: str = ""


def read_state() -> State:
    """The kept choices. A broken file is set aside and said, never an error."""
    path = paths.state_file()
    try:
        data = TomlFile(path).data
    except (FileNotFoundError, NotADirectoryError):
        return State({})
    except (OSError, NotToml) as broken:
        aside = path.with_suffix(".broken.toml")
        with suppress(OSError):
            path.replace(aside)
        log.warning("%s could not be read: %s", path, broken)
        return State({}, f"The file of kept choices was broken; it is now {aside}.")
    return State(_flat(data))


def keep(choices: Mapping[str, object]) -> None:
    """Keep these choices, by dotted name such as `ui.theme`, beside those kept before.

    None takes a choice away; a mapping is a table, such as the preset `presets.NAME`.
    Written whole and put in place at once. Where that fails, the log says so: a choice that is
    lost is no reason to stop writing.
    """
    import tomli_w

    values = {**read_state().values, **choices}
    nested: dict[str, Any] = {}
    for dotted, value in sorted(values.items()):
        if value is None:
            continue
        table, _, name = dotted.rpartition(".")
        part = nested.setdefault(table, {}) if table else nested
        part[name] = _plain(value)
    path = paths.state_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, tomli_w.dumps(nested).encode("utf-8"), private=True)
    except OSError as error:
        log.warning("%s could not be written: %s", path, error)


def rules_choices(rules: WeaveSettings) -> dict[str, object]:
    """Weave settings as choices to keep."""
    names = {row.attribute: row.name for row in WEAVE}
    return {f"weave.{names[one.name]}": getattr(rules, one.name) for one in fields(WeaveSettings)}


def _plain(value: object) -> object:
    """The value as TOML knows it."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    return list(value) if isinstance(value, tuple) else value


def _flat(data: Mapping[str, object]) -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            flat.update({f"{key}.{name}": setting for name, setting in value.items()})
        else:
            flat[key] = value
    return flat
