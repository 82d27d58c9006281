"""Opens the models of a mix, one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from llterm.backends.registry import Progress, Tell, find_model, open_model
from llterm.config import Config
from llterm.core.mixing.mix_recipe import Recipe
from llterm.core.query import Backend
from llterm.engine.mixture import Mix


async def open_models(
    names: Sequence[str],
    config: Config,
    overrides: Mapping[str, int] | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
) -> list[Backend]:
    """All of them, or none: one that cannot be opened closes those before it. Raises ModelError."""
    async with AsyncExitStack() as opened:
        backends: list[Backend] = []
        for name in names:
            backend = await open_model(name, config, overrides, progress, tell)
            opened.push_async_callback(backend.close)
            backends.append(backend)
        opened.pop_all()
        return backends


async def open_mix(
    names: Sequence[str],
    recipe: Recipe,
    config: Config,
    overrides: Mapping[str, int] | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
    *,
    forgiving: bool = False,
) -> Mix:
    """The models as one source; `forgiving`: see `Mix`. Raises ModelError."""
    known = [find_model(name, config).name for name in names]
    backends = await open_models(names, config, overrides, progress, tell)
    return Mix(backends, recipe, names=known, forgiving=forgiving)
