"""Loads a model under its settings and makes its context; every way that can fail is told as a
titled error."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llterm.backends.chat_formats import Chosen
from llterm.backends.llamacpp import thread_budget
from llterm.backends.llamacpp.binding import StopFlag, library
from llterm.backends.llamacpp.kernel_switches import EXACT, KernelSwitches
from llterm.core.kernels import EXACT_KERNELS, Kernels
from llterm.errors import ModelError, UsageError

RESERVE = 2048
"""Cells for suggestions besides the story's."""
MOST_CONTEXT = 8192
"""Default limit: a cache for a model's whole 128k context would take gigabytes."""
SEQUENCES = 256
"""Most sequences a llama.cpp context can have."""
STATE_BUDGET = 512 * 2**20
"""Bytes that the states of a recurrent model may take in all."""
LEAST_SEQUENCES = 8
"""However large a state is."""
_FEW_CELLS = 256
_HALF = (1, 32)
"""File types f16 and bf16: one row alone goes through other kernels than several."""
_FLOAT = (0, *_HALF)
"""File types without quantised weights."""
_KV_TYPES = {"f32": 0, "f16": 1, "q8_0": 8, "q5_1": 7, "q5_0": 6, "q4_1": 3, "q4_0": 2}
_FLOAT_CACHES = ("f32", "f16")
_FLASH = {"on": 1, "off": 0}
_SPLIT_MODES = ("none", "layer", "row", "tensor")
"""In the order of llama.cpp's numbers."""


@dataclass(frozen=True, slots=True)
class LlamaSettings:
    """Settings of one in-process model."""

    context: int | None = None
    """Most tokens of story and suggestion together; None = what the model was trained with, at most
    8,192 (a cache for more is asked for by name)."""
    threads: int | None = None
    """CPU threads; None leaves one core to the app."""
    batch: int = 512
    """Most tokens a decode; a stop waits for one decode at the most."""
    cache_size: int | None = None
    """Cells for all paths together, 256 at least: with fewer llama.cpp ends the program. None =
    `context` and some for suggestions."""
    kv_type: str = "f16"
    """Type of the cache, one of `KV_TYPES`."""
    flash_attention: str = "auto"
    """on, off, or auto: where a quantised cache or a GPU wants it, or the switches do."""
    gpu_layers: int | str = 0
    """Layers put on GPUs, where llama.cpp was built for such; auto: as many as fit."""
    gpus: tuple[float, ...] = ()
    """GB that may be taken of each GPU; none: as llama.cpp shares a model out."""
    split_mode: str = "layer"
    """How several GPUs share a model: none, layer, row, tensor."""
    main_gpu: int = 0
    """The GPU that has all of a model that is not split."""
    switches: KernelSwitches = EXACT
    kernels: Kernels = EXACT_KERNELS
    """What a person is told of the switches."""
    chat_template: Chosen | None = None
    """A built-in chat format's name, or another format; None is the model's own template, or what
    fits its tokens."""

    def __post_init__(self) -> None:
        """Raises UsageError for what cannot be together."""
        if self.quantised_cache and self.flash_attention == "off":
            raise UsageError(
                f"A {self.kv_type} cache needs flash attention",
                "llama.cpp reads quantised values in no other way.",
                'Leave flash_attention at "auto", or set kv_type = "f16".',
            )
        if self.split_mode == "tensor" and (self.quantised_cache or self.flash_attention == "off"):
            raise UsageError(
                "split_mode = tensor goes only with flash attention and an f16 or f32 cache",
                "llama.cpp has it for no other.",
                'Leave kv_type and flash_attention as they are, or set split_mode = "layer".',
            )
        if self.context and self.cache_size and self.context > self.cache_size:
            raise UsageError(
                "cache_size is smaller than context",
                f"One request may see {self.context:,} tokens, and {self.cache_size:,} are kept.",
                "Set a larger cache_size, or a smaller context.",
            )

    @property
    def quantised_cache(self) -> bool:
        return self.kv_type not in _FLOAT_CACHES

    @property
    def layers(self) -> int:
        """Layers on GPUs; of "auto" none, before `placed` has found how many."""
        return self.gpu_layers if isinstance(self.gpu_layers, int) else 0

    @property
    def flash_type(self) -> int:
        """llama.cpp's number: 0 without flash attention, 1 with it, -1 where it can be had. On a
        processor it is slower, and its sums depend on the shape of a batch."""
        wanted = self.layers or self.quantised_cache or self.switches.flash
        return _FLASH.get(self.flash_attention, -1 if wanted else 0)

    def room(self, trained: int) -> tuple[int, int]:
        """Most tokens of a path, and cells for all, of a model that was trained with so many
        tokens; a file may say nothing, or a number beyond C's."""
        usual = min(trained, MOST_CONTEXT) if trained > 0 else MOST_CONTEXT
        window = self.context or min(usual, self.cache_size or usual)
        return window, self.cache_size or window + RESERVE


@dataclass(slots=True)
class LoadedModel:
    """A model in memory with one context."""

    model: Any
    context: Any
    stop: StopFlag
    sequences: int
    window: int
    """Most tokens of a path."""
    cells: int
    """Of all paths together."""
    whole: bool
    """States are copied as a whole only."""
    attentive: bool
    """Some layer has attention."""
    parked: int
    """Most cells that paths off the story may keep."""
    pairs: bool
    """Decode two rows at least, so that results don't depend on the batch."""
    ordered: bool
    """Weights or cache are quantised: sums over other cells are rounded otherwise, and a rounding
    is as large as a step of 8 bits. Figures are the same where the cells are the same."""
    settings: LlamaSettings
    threads: int
    """CPU threads that a decode works with."""


def load(
    path: Path,
    settings: LlamaSettings,
    progress: Callable[[float], bool],
    *,
    cpu_alone: bool = False,
) -> LoadedModel:
    """Load on the calling thread, as `load_weights` does, with a context. Raises ModelError."""
    llama = library()
    model = load_weights(path, settings, progress, cpu_alone=cpu_alone)
    try:
        return _open(llama, model, path, settings)
    except ModelError:
        llama.llama_model_free(model)
        raise


def load_weights(
    path: Path,
    settings: LlamaSettings,
    progress: Callable[[float], bool],
    *,
    cpu_alone: bool = False,
) -> Any:
    """The model, loaded on the calling thread. `progress` is told the share done; False from it
    gives up. Raises ModelError.

    `cpu_alone`: no GPU takes part, where with no layers on it one may still help with long texts.
    """
    llama = library()
    params = model_params(llama, settings)
    no_devices = (ctypes.c_void_p * 1)()
    if cpu_alone:
        params.n_gpu_layers = 0
        params.devices = ctypes.addressof(no_devices)
    callback = type(params.progress_callback)(lambda share, _: bool(progress(share)))
    params.progress_callback = callback
    model = llama.llama_model_load_from_file(os.fsencode(path), params)
    if not model:
        raise ModelError(
            f"{path.name} could not be loaded",
            "llama.cpp refused it; the log says why.",
            "Its architecture may be newer than the llama.cpp in use, or memory too small.",
        )
    return model


def _open(llama: Any, model: Any, path: Path, settings: LlamaSettings) -> LoadedModel:
    if llama.llama_model_has_encoder(model) or not llama.llama_model_has_decoder(model):
        raise ModelError(
            f"{path.name} does not predict text",
            "It is an encoder or an embedding model: it has no next-token probabilities.",
            "Choose a model for text generation.",
        )
    whole = bool(llama.llama_model_is_recurrent(model) or llama.llama_model_is_hybrid(model))
    window, cells = settings.room(llama.llama_model_n_ctx_train(model))
    # llama.cpp ends the program where a decode has less room than one row for each sequence.
    sequences = min(SEQUENCES, _rows(settings))
    if whole:
        states = STATE_BUDGET // max(_state_size(llama, model, settings), 1)
        sequences = max(min(sequences, states), LEAST_SEQUENCES)
    stop = StopFlag()
    params = context_params(llama, settings, cells, sequences)
    stop.attach(params)
    context = llama.llama_init_from_model(model, params)
    if not context and settings.quantised_cache:
        kind = settings.kv_type
        raise ModelError(
            f"{path.name} could not get a {kind} cache",
            f"Its heads may have a size that {kind} does not fit, or memory is too small.",
            'Set kv_type = "f16", or a smaller --context.',
        )
    if not context:
        raise ModelError(
            f"There is not enough memory for {path.name}",
            f"A context of {window:,} tokens, and {cells:,} cells, could not be made.",
            "Set a smaller one with --context, or close other programs.",
        )
    # One more sequence is for the double of a row that would be evaluated alone, one for scoring.
    kind = llama.llama_model_ftype(model)
    exact = settings.switches.exact
    quantised = kind not in _FLOAT or settings.quantised_cache
    # The state of a recurrent model cannot be taken back to a place before.
    ordered = exact and quantised and not whole
    return LoadedModel(
        model=model,
        context=context,
        stop=stop,
        sequences=sequences - 2,
        window=window,
        cells=cells,
        whole=whole,
        attentive=not llama.llama_model_is_recurrent(model),
        parked=_parked(llama, model),
        pairs=exact and (kind in _HALF or ordered),
        ordered=ordered,
        settings=settings,
        threads=params.n_threads,
    )


def _state_size(llama: Any, model: Any, settings: LlamaSettings) -> int:
    """Bytes that the state of a sequence takes; 0 where it cannot be found out.

    llama.cpp sets them aside for every sequence, and tells only of those that hold a token.
    """
    context = llama.llama_init_from_model(model, context_params(llama, settings, _FEW_CELLS, 1))
    if not context:
        return 0
    token = (llama.llama_token * 1)(0)
    code = llama.llama_decode(context, llama.llama_batch_get_one(token, 1))
    size = 0 if code else int(llama.llama_state_seq_get_size(context, 0))
    llama.llama_free(context)
    return size


def model_params(llama: Any, settings: LlamaSettings) -> Any:
    """Parameters to load a model by, as `placed` has them."""
    params = llama.llama_model_default_params()
    params.n_gpu_layers = settings.layers
    if settings.layers:
        params.split_mode = _SPLIT_MODES.index(settings.split_mode)
        params.main_gpu = settings.main_gpu
    params.use_extra_bufts = settings.switches.repack
    if settings.gpus:
        shares = (ctypes.c_float * llama.llama_max_devices())(*settings.gpus)
        params.tensor_split = ctypes.cast(shares, type(params.tensor_split))
    return params


def context_params(llama: Any, settings: LlamaSettings, cells: int, sequences: int) -> Any:
    """Parameters of a context with this many cells and sequences."""
    params = llama.llama_context_default_params()
    params.n_ctx = cells
    params.n_batch = params.n_ubatch = _rows(settings)
    params.n_seq_max = sequences
    params.kv_unified = True
    params.swa_full = True
    params.flash_attn_type = settings.flash_type
    params.type_k = params.type_v = _KV_TYPES[settings.kv_type]
    params.n_threads = params.n_threads_batch = thread_budget.thread_count(settings.threads)
    return params


def _rows(settings: LlamaSettings) -> int:
    """How many rows a decode has room for."""
    return max(settings.batch, 64)


def _parked(llama: Any, model: Any) -> int:
    """As many cells as add a quarter to what a row costs: 2 operations a weight, 4 a cell and unit
    of width in each layer. Few for a tiny model, thousands for a large one."""
    weights = int(llama.llama_model_n_params(model))
    a_cell = 4 * int(llama.llama_model_n_embd(model)) * int(llama.llama_model_n_layer(model))
    return weights // 2 // max(a_cell, 1)
