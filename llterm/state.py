"""Choices made in the app that are the person's, kept between starts: how it looks, presets.

They lie in a file of llterm's own, which only the app reads: what a command does depends on its
flags, its environment and `llterm.toml` alone. That is never rewritten and counts more. What is
chosen for one story is kept in its loom, so that it is in force in no other.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from llterm import paths
from llterm.config.toml import NotToml, TomlFile
from llterm.whole_file import write_whole

log = logging.getLogger(__name__)

PERSONAL = ("ui", "presets")
"""Tables of what is the person's, whichever loom is open."""


@dataclass(frozen=True, slots=True)
class State:
    """What was kept: values by dotted setting name, and a notice where a file was set aside."""

    values: Mapping[str, object]
    """The person's."""
    notice: str = ""
    former: Mapping[str, object] = field(default_factory=dict)
    """What an older llterm kept here of one story, and put in force in every other: model, weave
    settings, sampling with its bans. Nothing reads it but who offers it to a loom."""


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
    values = _flat(data)
    personal = {name: value for name, value in values.items() if _is_personal(name)}
    former = {name: value for name, value in values.items() if not _is_personal(name)}
    return State(personal, former=former)


def keep(choices: Mapping[str, object]) -> None:
    """Keep these choices, by dotted name such as `ui.theme`, beside those kept before.

    None takes a choice away; a mapping is a table, such as the preset `presets.NAME`.
    Written whole and put in place at once. Where that fails, the log says so: a choice that is
    lost is no reason to stop writing. Raises ValueError for one that is not the person's.
    """
    if strange := [name for name in choices if not _is_personal(name)]:
        raise ValueError(f"{strange[0]} belongs to a loom")
    state = read_state()
    _write({**state.former, **state.values, **choices})


def drop_former() -> None:
    """Forget what an older llterm kept of one story for all of them."""
    state = read_state()
    if state.former:
        _write(state.values)


def _is_personal(name: str) -> bool:
    return name.partition(".")[0] in PERSONAL


def _write(values: Mapping[str, object]) -> None:
    import tomli_w

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
