"""Model names: what is known by name, and how each is opened."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from llterm.config import Config, ModelConfig
from llterm.config.server import ServerSettings
from llterm.core.query import Backend
from llterm.errors import ModelError

MODELS = Path(__file__).parent.parent / "models"
"""The bundled models, inside the package."""
BUNDLED: Mapping[str, str] = {"fable": "fable-f16.gguf", "fable-q8_0": "fable-q8_0.gguf"}
"""The first is the default: its probabilities are the same in any company to 0.4 %, where 8-bit
activations may round otherwise by some percent of p."""
SCRIPTED = "scripted"
Progress = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Known:
    """A model that can be opened."""

    name: str
    kind: Literal["bundled", "configured", "file", "scripted", "server"]
    path: Path | None
    """The GGUF file; the scripted model and those on servers have none."""
    settings: ModelConfig


def known_models(config: Config) -> list[Known]:
    """Every model with a name: bundled, configured, scripted."""
    names = [*BUNDLED, *(name for name in config.models if name not in BUNDLED), SCRIPTED]
    return [find_model(name, config) for name in names]


def find_model(name: str, config: Config) -> Known:
    """The model with this name, or at this path. Raises ModelError naming the nearest known one."""
    own = config.models.get(name)
    if name in BUNDLED:
        settings = own or ModelConfig()
        return Known(name, "bundled", settings.path or MODELS / BUNDLED[name], settings)
    if own is not None:
        return Known(name, "server" if own.server else "configured", own.path, own)
    if name == SCRIPTED:
        return Known(name, "scripted", None, ModelConfig())
    if name.startswith(("http://", "https://")):
        return Known(name, "server", None, ModelConfig(server=ServerSettings((name,))))
    path = Path(name).expanduser()
    if path.exists() or path.suffix.lower() == ".gguf" or len(path.parts) > 1:
        return Known(path.stem, "file", path, ModelConfig())
    names = [*BUNDLED, *config.models, SCRIPTED]
    near = get_close_matches(name, names, 1, 0.5)
    raise ModelError(
        f"There is no model {name}",
        f"Known are {', '.join(dict.fromkeys(names))}, paths of .gguf files, and addresses of"
        " servers.",
        f"Did you mean {near[0]}?" if near else "`llterm models list` shows them.",
    )


async def open_model(
    name: str,
    config: Config,
    overrides: Mapping[str, int] | None = None,
    progress: Progress | None = None,
) -> Backend:
    """Open a model. `overrides` are typed model flags by name (context, threads, gpu_layers).

    `progress` is told the share that is loaded, from any thread. Raises ModelError.
    """
    known = find_model(name, config)
    if known.settings.server is not None:
        from llterm.backends.remote.connect import open_remote

        return await open_remote(known.name, known.settings.server, known.settings.context)
    if known.path is None:
        from llterm.backends.scripted import ScriptedBackend

        return ScriptedBackend()
    from llterm.backends.llamacpp import LlamaSettings, open_llama

    values: dict[str, Any] = {
        one.name: getattr(known.settings, one.name) for one in fields(LlamaSettings)
    }
    values.update(overrides or {})
    return await open_llama(known.path, LlamaSettings(**values), progress)
