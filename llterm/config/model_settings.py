"""Settings of one model that a run may be given beside what `llterm.toml` says of it: which they
are, and how they are typed with its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llterm.config.schema import setting
from llterm.errors import UsageError

FOR_A_RUN = (
    "context", "cache_size", "threads", "kv_type", "flash_attention", "gpu_layers", "gpus",
    "split_mode", "main_gpu", "kernels",
)  # fmt: skip
"""By flags, and as `-m MODEL,key=value`."""
OF_A_DRAFT = ("draft", "draft_tokens")
"""By the flags of commands that draw, and as `-m MODEL,key=value`."""
WITH_A_NAME = (*FOR_A_RUN, *OF_A_DRAFT, "chat_template")
"""As `-m MODEL,key=value`."""
_OF_A_SERVER = ("alias", "load")
_LOADS = ("start", "use")


@dataclass(frozen=True, slots=True)
class TypedModel:
    """A model that is to be served, as it was typed."""

    name: str
    settings: Mapping[str, Any]
    """Of its own, by name."""
    aliases: tuple[str, ...] = ()
    on_use: bool = False
    """Loaded when it is asked for, not when the server starts."""


def model_of(typed: str) -> TypedModel:
    """A model as it is typed, `MODEL,key=value…`: what names it, and settings of its own. Raises
    UsageError."""
    name, settings = typed, dict[str, Any]()
    aliases: list[str] = []
    on_use = False
    while True:
        before, comma, last = name.rpartition(",")
        key, equals, value = last.partition("=")
        if not (comma and equals and key.isidentifier()):
            return TypedModel(name, settings, tuple(reversed(aliases)), on_use)
        if key not in (*WITH_A_NAME, *_OF_A_SERVER):
            known = ", ".join((*WITH_A_NAME, *_OF_A_SERVER))
            raise UsageError(f"A model has no {key}", "", f"Known are {known}.")
        try:
            if key == "alias":
                aliases.append(_alias(value))
            elif key == "load":
                on_use = _load(value)
            else:
                settings[key] = setting(f"models.{key}").parse(value)
        except ValueError as error:
            raise UsageError(f"Wrong value for {key} of {before}", f"{error}.", "") from error
        name = before


def _alias(value: str) -> str:
    if not value:
        raise ValueError("it is empty")
    return value


def _load(value: str) -> bool:
    if value not in _LOADS:
        raise ValueError(f'"{value}" is not one of {" or ".join(_LOADS)}')
    return value == "use"
