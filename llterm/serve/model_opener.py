"""How a model comes to be served: a file in a process of its own, any other by its backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from llterm.backends.caches import size_of
from llterm.backends.llamacpp.gguf_header import inspect_gguf
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
        """Bytes of this machine's memory that it will take, about: none where it lies on GPUs, or
        on a server. Reads the file's header. Raises LltermError."""
        known, given = source.known, dict(source.settings)
        if known.path is None:
            return 0
        cells = given.pop("cache_size", known.settings.cache_size)
        settings = replace(file_settings(known, given), cache_size=None)
        if settings.gpu_layers or settings.gpus:
            return 0
        info = inspect_gguf(known.path, brief=True)
        if info.encoder:
            return needed(info, size_of(known.path), settings)
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
        return needed(info, size_of(known.path), settings) + round(cell * slots * each)

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
