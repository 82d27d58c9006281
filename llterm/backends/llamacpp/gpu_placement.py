"""Which layers of a model lie on which GPU, and whether they fit there, before any is loaded.

What a layer takes is an estimate: an equal part of the file, its part of the cache, and on each GPU
llama.cpp's own buffers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from llterm.backends.caches import size_of
from llterm.backends.llamacpp.binding import library
from llterm.backends.llamacpp.gguf_header import ModelInfo
from llterm.backends.llamacpp.loader import LlamaSettings
from llterm.backends.llamacpp.memory_estimate import COMPUTE, cell_bytes
from llterm.errors import ModelError

GB = 1e9
_GPU, _INTEGRATED = 1, 2
"""`ggml_backend_dev_type`; one that is part of the processor counts only where there is no other,
as in llama.cpp."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that llama.cpp can use."""

    name: str
    free: float
    """Bytes; 0 where that is not known."""


def gpus_here() -> Sequence[Gpu]:
    """The GPUs that llama.cpp was built for and found, in its order."""
    library()
    from llama_cpp._ggml import libggml as ggml

    ggml.ggml_backend_dev_count.restype = ctypes.c_size_t
    ggml.ggml_backend_dev_get.restype = ctypes.c_void_p
    devices = [
        ctypes.c_void_p(ggml.ggml_backend_dev_get(ctypes.c_size_t(number)))
        for number in range(ggml.ggml_backend_dev_count())
    ]
    kinds = [int(ggml.ggml_backend_dev_type(device)) for device in devices]
    wanted = _GPU if _GPU in kinds else _INTEGRATED
    return [_gpu(ggml, each) for each, kind in zip(devices, kinds, strict=True) if kind == wanted]


def _gpu(ggml: Any, device: ctypes.c_void_p) -> Gpu:
    ggml.ggml_backend_dev_name.restype = ctypes.c_char_p
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    ggml.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
    return Gpu(ggml.ggml_backend_dev_name(device).decode("utf-8", "replace"), free.value)


def placed(info: ModelInfo, settings: LlamaSettings, gpus: Sequence[Gpu]) -> LlamaSettings:
    """The settings with a number of layers in place of "auto", or of none beside `gpus`.

    Raises ModelError where GPUs are named that are not there, or the layers do not fit.
    """
    _check_names(info, settings, gpus)
    everything = info.layers + 1  # llama.cpp counts the output as a layer.
    if settings.gpu_layers == "auto":
        return replace(settings, gpu_layers=_most_layers(info, settings, gpus, everything))
    if not settings.gpus:
        return settings
    layers = min(settings.layers or everything, everything)
    takes = _bytes_of_each(info, settings, gpus, layers)
    for gpu, take, room in zip(gpus, takes, _rooms(settings, gpus), strict=True):
        if take > room:
            raise ModelError(
                f"{info.path.name} does not fit on {gpu.name}",
                f"{layers} of its {everything} layers lie on GPUs; this one's part takes"
                f" {take / GB:,.1f} GB, about, and may take {room / GB:,.1f} GB.",
                'Allow more in gpus, set gpu_layers = "auto", or a smaller context or cache_size.',
            )
    return replace(settings, gpu_layers=layers)


def _check_names(info: ModelInfo, settings: LlamaSettings, gpus: Sequence[Gpu]) -> None:
    if settings.gpus and not any(settings.gpus):
        raise ModelError(
            f"{info.path.name} may lie on no GPU",
            "Each number in gpus is 0.",
            "Leave gpus out, or say how many GB each may give.",
        )
    if len(settings.gpus) > len(gpus) and any(settings.gpus[len(gpus) :]):
        raise ModelError(
            f"{info.path.name} is to lie on {len(settings.gpus)} GPUs",
            f"llama.cpp has {len(gpus)} here{_names(gpus)}.",
            "Leave the others out of gpus; docs/install.md says how it is built for GPUs.",
        )
    if not (settings.gpu_layers or settings.gpus):
        return
    if settings.split_mode == "tensor" and not gpus:
        raise ModelError(
            "split_mode = tensor shares every layer between GPUs",
            "llama.cpp has none here.",
            'Set split_mode = "layer"; docs/install.md says how it is built for GPUs.',
        )
    if settings.main_gpu and settings.main_gpu >= len(gpus):
        raise ModelError(
            f"There is no GPU {settings.main_gpu}",
            f"llama.cpp has {len(gpus)} here{_names(gpus)}, from 0 on.",
            "Set another main_gpu.",
        )


def _names(gpus: Sequence[Gpu]) -> str:
    return f" ({', '.join(gpu.name for gpu in gpus)})" if gpus else ""


def _most_layers(
    info: ModelInfo, settings: LlamaSettings, gpus: Sequence[Gpu], everything: int
) -> int:
    """As many as fit; of which none where there is no GPU."""
    rooms = _rooms(settings, gpus)
    return next(
        (
            layers
            for layers in range(everything if gpus else 0, 0, -1)
            if all(
                take <= room
                for take, room in zip(
                    _bytes_of_each(info, settings, gpus, layers), rooms, strict=True
                )
            )
        ),
        0,
    )


def _rooms(settings: LlamaSettings, gpus: Sequence[Gpu]) -> list[float]:
    """Bytes that may be taken of each GPU."""
    allowed = _allowed(settings, gpus)
    return [min(most, gpu.free or most) for most, gpu in zip(allowed, gpus, strict=True)]


def _allowed(settings: LlamaSettings, gpus: Sequence[Gpu]) -> list[float]:
    if not settings.gpus:
        return [gpu.free for gpu in gpus]
    given = [*settings.gpus, *[0.0] * len(gpus)]
    return [given[number] * GB for number in range(len(gpus))]


def _bytes_of_each(
    info: ModelInfo, settings: LlamaSettings, gpus: Sequence[Gpu], layers: int
) -> list[float]:
    """What so many layers take of each GPU, about: as llama.cpp shares them out."""
    _, cells = settings.room(info.context)
    weights = size_of(info.path)
    each = weights / (info.layers + 1) + cell_bytes(info, settings) * cells / max(info.layers, 1)
    return [
        each * count + min(COMPUTE, weights) if count else 0.0
        for count in _layers_of_each(settings, gpus, layers)
    ]


def _layers_of_each(settings: LlamaSettings, gpus: Sequence[Gpu], layers: int) -> list[float]:
    """How many of the layers each GPU has: whole ones, or parts where all share in each."""
    if settings.split_mode == "none":
        return [float(layers if number == settings.main_gpu else 0) for number in range(len(gpus))]
    shares = _allowed(settings, gpus)
    total = sum(shares) or 1.0
    if settings.split_mode != "layer":
        return [layers * share / total for share in shares]
    ends: list[float] = []
    for share in shares:
        ends.append((ends[-1] if ends else 0.0) + share / total)
    owners = [
        next((gpu for gpu, end in enumerate(ends) if end > layer / layers), len(gpus) - 1)
        for layer in range(layers)
    ]
    return [float(owners.count(gpu)) for gpu in range(len(gpus))]
