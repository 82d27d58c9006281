"""How a model comes to be served: a file in a process of its own, any other by its backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llterm.backends.caches import size_of
from llterm.backends.llamacpp.gguf_header import ModelInfo, inspect_gguf
from llterm.backends.llamacpp.gpu_placement import gpus_here, placed
from llterm.backends.llamacpp.loader import LlamaSettings
from llterm.backends.llamacpp.memory_estimate import cell_bytes, needed
from llterm.backends.llamacpp.slot_sizes import slot_room
from llterm.backends.registry import KnownModel, file_settings, open_model
from llterm.config import Config
from llterm.core.query import Backend
from llterm.engine.scheduler import usual_keepers
from llterm.jobs.runner import SILENCE, Listener, absences, load_progress
from llterm.serve.model_process import open_process, opening_of
from llterm.serve.serve_limits import ServeLimits
from llterm.serve.served_models import ServedModel, served_model


@dataclass(frozen=True, slots=True, eq=False)
class ModelSource:
    """What one replica of a model is opened from."""

    known: KnownModel
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of its own, beside what is configured."""

    @property
    def decodes_here(self) -> bool:
        """Whether it takes cores of this machine."""
        return self.known.path is not None


class ModelOpener:
    """Opens models as one server has them."""

    def __init__(self, config: Config, limits: ServeLimits, listener: Listener = SILENCE) -> None:
        self.config = config
        self.limits = limits
        self._listener = listener

    def memory(self, source: ModelSource) -> int:
        """Bytes of this machine's memory that it will take, about: of layers on GPUs, and of a
        model on a server, none. Reads the file's header. Raises LltermError."""
        known, given = source.known, dict(source.settings)
        if known.path is None:
            return 0
        cells = given.pop("cache_size", known.settings.cache_size)
        settings = replace(file_settings(known, given), cache_size=None)
        info = inspect_gguf(known.path, brief=True)
        taken = needed(info, size_of(known.path), settings)
        if not info.encoder:
            taken += self._slots(info, settings, cells)
        return round(taken * (1 - _share_on_gpus(info, settings)))

    def _slots(self, info: ModelInfo, settings: LlamaSettings, cells: int | None) -> int:
        """Bytes of the cells of all requests."""
        slots = self.limits.parallel + usual_keepers(self.limits.parallel)
        cell = cell_bytes(info, settings)
        each = slot_room(
            cell,
            slots,
            settings.context or info.context,
            context=self.limits.slot_context,
            memory=self.limits.cache_memory,
            cells=cells,
        )
        return round(cell * slots * each)

    async def open(
        self, source: ModelSource, cores: int, progress: Callable[[float], None]
    ) -> ServedModel:
        """The model, loaded. `cores`: that its decodes may take; `progress` is told the share that
        is read. Raises LltermError. Cancelling gives it up."""
        known, say = source.known, load_progress(self._listener, source.known.name)

        def tell(share: float) -> None:
            say(share)
            progress(share)

        backend: Backend
        if known.path is not None:
            opening = opening_of(known, self.config, source.settings, self.limits, cores)
            backend = await open_process(opening, tell)
        else:
            heard = absences(self._listener)
            backend = await open_model(known.typed, self.config, source.settings, tell, heard)
        return served_model(known.name, backend, self.limits)


def _share_on_gpus(info: ModelInfo, settings: LlamaSettings) -> float:
    """How much of a model lies on GPUs, by its layers; "auto" is as many as fit there."""
    if settings.gpu_layers == "auto":
        settings = placed(info, settings, gpus_here())
    everything = info.layers + 1
    layers = settings.layers or (everything if settings.gpus else 0)
    return min(layers, everything) / everything
