"""What an operator does with a server's models over HTTP: load, unload, look.

A model is meant by a name that the operator gave it on this machine, never by a path or an address.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET

from llterm.backends.caches import files_in
from llterm.backends.registry import KnownModel, find_model, taken_names
from llterm.config import Config, ModelConfig
from llterm.config.schema import setting
from llterm.core.display_text import field_text
from llterm.errors import LltermError
from llterm.serve.admin_bodies import (
    GALLAMA_CACHES,
    GALLAMA_NEUTRAL,
    GallamaModel,
    LoadPart,
    ModelSettings,
)
from llterm.serve.api_errors import ApiError, bad_field, check_neutral, error_sentences
from llterm.serve.model_opener import ModelSource
from llterm.serve.model_pool import ModelPool
from llterm.serve.pooled_model import ModelLoad, PooledModel

Answer = Mapping[str, Any]


class OfferedNames:
    """The names by which an operator may have models loaded that are not served yet."""

    def __init__(self, config: Config, folders: Sequence[Path] = ()) -> None:
        """`folders`: whose files are offered, by their names without an ending."""
        self._config = config
        self._folders = folders

    def configured(self) -> list[KnownModel]:
        """Every model of `llterm.toml`."""
        return [find_model(name, self._config) for name in self._config.models]

    def filed(self) -> list[KnownModel]:
        """Every model in the folders, as they are now; of two with one name the first."""
        files = [file for folder in self._folders for file in files_in(folder)]
        taken = taken_names(self._config)
        known = {
            file.name: KnownModel(file.name, "file", file.path, ModelConfig())
            for file in reversed(files)
            if file.name not in taken
        }
        return list(reversed(known.values()))

    def find(self, name: str) -> KnownModel | None:
        """The model of this name, looked for nowhere else. Raises LltermError."""
        if name in taken_names(self._config):
            return find_model(name, self._config)
        return next((known for known in self.filed() if known.name == name), None)

    def names(self) -> list[str]:
        """All of them."""
        return [*taken_names(self._config), *(known.name for known in self.filed())]


class ModelAdministration:
    """Changes a pool's models as its operator says."""

    def __init__(self, pool: ModelPool, offered: OfferedNames) -> None:
        self._pool = pool
        self._offered = offered

    def load(self, parts: Sequence[LoadPart], *, further: bool = False) -> Sequence[ModelLoad]:
        """Have these loaded, one after the other; none where one of them cannot be. `further`: one
        replica more than there are, of each. Raises ApiError."""
        meant = [self._meant(part, f"models[{place}]") for place, part in enumerate(parts)]
        names = [model.name for model in meant]
        if not further and len(set(names)) < len(names):
            raise bad_field("models", "A model is named twice", "", "Ask for several replicas.")
        loads = []
        for new, part in zip(meant, parts, strict=True):
            model = self._pool.add(new)
            self._want(model, part, further=further)
            loads.append(self._pool.order(model))
        return loads

    async def unload(self, name: str, *, remove: bool = False) -> None:
        """Let a model go when its requests have ended. Raises ApiError (404)."""
        model = self._pool.get(name)
        await (self._pool.remove(model) if remove else self._pool.unload(model))

    async def models(self) -> Answer:
        """Every model that is served, and how it is doing."""
        pool = self._pool
        offered = await asyncio.to_thread(self._offered.names)
        served = {model.name for model in pool.models}
        return {
            "object": "list",
            "data": [self._model(model) for model in pool.models],
            "available": [name for name in offered if name not in served],
            "memory": pool.memory,
            "memory_bound": pool.memory_bound,
        }

    def loads(self) -> Answer:
        """What is loaded, waits for it, and was."""
        return {"object": "list", "data": [load_record(load) for load in self._pool.loads]}

    def task_status(self, id: str) -> str:
        """How far the loads of a gallama task are: what the first that is not done is. Raises
        ApiError (404)."""
        by_id = {load.id: load for load in self._pool.loads}
        ids = id.split(",")
        if not by_id.keys() >= {*ids}:
            raise ApiError(404, f"There is no task {id[:40]}", "", "See the queue.",
                           param="id", code="task_not_found")  # fmt: skip
        states = [_gallama_status(by_id[each]) for each in ids]
        return next((state for state in states if state != "completed"), "completed")

    def _meant(self, part: LoadPart, param: str) -> PooledModel:
        """The model that is meant, served or not."""
        model = self._pool.find(part.model)
        if model is None:
            known = self._offered.find(part.model)
            if known is None:
                raise ApiError(
                    404,
                    f"There is no model {part.model[:100]}",
                    "It is neither served, nor configured, nor in a folder that is served.",
                    "Paths and addresses are for the one who starts the server.",
                    param=f"{param}.model",
                    code="model_not_found",
                )
            model = PooledModel(known, [])
        if _is_there(model) and part.settings is not None and part.replicas <= len(model.sources):
            raise ApiError(
                409,
                f"{model.name} is loaded already",
                "Settings are of replicas that are not.",
                "Unload it first, or ask for more replicas.",
                param=f"{param}.settings",
                code="already_loaded",
            )
        return model

    def _want(self, model: PooledModel, part: LoadPart, *, further: bool) -> None:
        """Let the model have replicas as the part says."""
        settings = _settings(part.settings)
        if not _is_there(model) and settings:
            model.sources = []
        if not settings and model.sources:
            settings = model.sources[-1].settings
        count = len(model.sources) + 1 if further and _is_there(model) else part.replicas
        while len(model.sources) < count:
            model.sources.append(ModelSource(model.known, settings))

    def _model(self, model: PooledModel) -> Answer:
        return {
            "model": model.name,
            "aliases": self._pool.aliases(model),
            "state": model.state,
            "memory": model.memory,
            "requests": model.requests,
            "waiting": model.waiting,
            "progress": None if model.load is None else round(model.load.share, 3),
            "error": None if model.error is None else _words(model, model.error),
            "replicas": [
                {
                    "state": replica.model.state,
                    "memory": replica.memory,
                    "requests": replica.requests,
                    "settings": {} if replica.source is None else dict(replica.source.settings),
                }
                for replica in model.replicas
            ],
        }


def load_record(load: ModelLoad) -> Answer:
    """How far a load is."""
    return {
        "id": load.id,
        "model": load.model.name,
        "state": load.state,
        "progress": 1.0 if load.state == "done" else round(load.share, 3),
        "error": None if load.error is None else _words(load.model, load.error),
    }


def gallama_parts(body: GallamaModel | Sequence[GallamaModel]) -> list[LoadPart]:
    """The same in llterm's words. Raises ApiError for what it has and llterm has not."""
    models = [body] if isinstance(body, GallamaModel) else body
    return [_gallama_part(model) for model in models]


def _gallama_status(load: ModelLoad) -> str:
    """How far a load is, in gallama's words."""
    match load.state:
        case "queued" | "loading":
            return load.state
        case "done":
            return "completed"
    return f"failed: {load_record(load)['error']}"


def _gallama_part(model: GallamaModel) -> LoadPart:
    check_neutral(model, GALLAMA_NEUTRAL)
    name = model.model_name or model.model_id
    if name is None:
        raise bad_field("model_id", "A model has to be named", "", "Say its model_id.")
    given = {
        "gpus": None if model.gpus == "auto" else model.gpus,
        "gpu_layers": "auto" if model.gpus == "auto" else None,
        "cache_size": model.cache_size,
        "kv_type": GALLAMA_CACHES.get(model.cache_quant or ""),
        "context": model.max_seq_len,
        "split_mode": "tensor" if model.tensor_parallel else None,
    }
    settings = {key: value for key, value in given.items() if value is not None}
    return LoadPart(model=name, settings=ModelSettings(**settings) if settings else None)


def _is_there(model: PooledModel) -> bool:
    """Whether it is loaded or will be: not where its process was given up."""
    return model.load is not None or model.state not in ("unloaded", "failed")


def _settings(given: msgspec.Struct | None) -> Mapping[str, Any]:
    """Those that were given, as a run has them."""
    if given is None:
        return {}
    values = {name: getattr(given, name) for name in given.__struct_fields__}
    return {
        name: setting(f"models.{name}").check(value)
        for name, value in values.items()
        if value is not UNSET
    }


def _words(model: PooledModel, error: LltermError) -> str:
    """What went wrong, without a path of this machine."""
    words = error_sentences(error.title, error.cause)
    path = model.known.path
    if path is not None:
        words = words.replace(str(path.absolute()), path.name).replace(str(path), path.name)
    return field_text(words)
