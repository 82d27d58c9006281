"""Settings of one model that a run may be given beside what `llterm.toml` says of it: which they
are, and how they are typed with its name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llterm.config.schema import setting
from llterm.errors import UsageError

FOR_A_RUN = (
    "context", "cache_size", "threads", "kv_type", "flash_attention", "gpu_layers", "gpus",
    "split_mode", "main_gpu", "kernels",
)  # fmt: skip
"""By flags, and as `-m MODEL,key=value`."""
WITH_A_NAME = (*FOR_A_RUN, "chat_template")
"""As `-m MODEL,key=value`."""


def model_of(typed: str) -> tuple[str, Mapping[str, Any]]:
    """A model as it is typed, `MODEL,key=value…`: what names it, and settings of its own. Raises
    UsageError."""
    name, settings = typed, dict[str, Any]()
    while True:
        before, comma, last = name.rpartition(",")
        key, equals, value = last.partition("=")
        if not (comma and equals and key.isidentifier()):
            return name, settings
        if key not in WITH_A_NAME:
            raise UsageError(f"A model has no {key}", "", f"Known are {', '.join(WITH_A_NAME)}.")
        try:
            settings[key] = setting(f"models.{key}").parse(value)
        except ValueError as error:
            raise UsageError(f"Wrong value for {key} of {before}", f"{error}.", "") from error
        name = before
