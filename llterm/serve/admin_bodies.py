"""What the operator's addresses take: names of models, and settings that hold no path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from llterm.config.model_settings import FOR_A_RUN
from llterm.config.schema import setting
from llterm.config.setting import MOST_STOPS, Setting
from llterm.serve.body_reader import BodyBase

MOST_MODELS = 64
MOST_REPLICAS = 64
ModelName = Annotated[str, Meta(min_length=1, max_length=512)]


def _kind(row: Setting) -> Any:
    """The type of a setting's values in JSON."""
    if row.choices:
        return Literal[row.choices]
    bounds = Meta(ge=row.low, le=row.high)
    if row.kind == "list of numbers":
        return Annotated[list[Annotated[float, bounds]], Meta(max_length=MOST_STOPS)]
    number = Annotated[int, bounds]
    return number | Literal[row.words] if row.words else number


if TYPE_CHECKING:
    ModelSettings = msgspec.Struct
else:
    ModelSettings = msgspec.defstruct(
        "ModelSettings",
        [(name, _kind(setting(f"models.{name}")) | UnsetType, UNSET) for name in FOR_A_RUN],
        kw_only=True,
        forbid_unknown_fields=True,
        module=__name__,
    )
    """Those of `-m NAME,key=value`, each as llterm.toml writes it."""
Gigabytes = Annotated[float, Meta(ge=0, le=100_000)]


class LoadPart(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A model that is to be there."""

    model: ModelName
    """Its name: of a model that is served or configured, or of a file in a folder that is."""
    replicas: Annotated[int, Meta(ge=1, le=MOST_REPLICAS)] = 1
    """So many at the least."""
    settings: ModelSettings | None = None
    """Of the replicas that are not there yet."""


class LoadBody(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """Models to load."""

    models: Annotated[list[LoadPart], Meta(min_length=1, max_length=MOST_MODELS)]


class UnloadBody(BodyBase, kw_only=True, forbid_unknown_fields=True):
    """A model to let go."""

    model: ModelName
    remove: bool = False
    """Serve it no more: else it is loaded again when it is asked for."""


class GallamaModel(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A model in gallama's words."""

    model_id: ModelName | None = None
    model_name: ModelName | None = None
    """A name of the configuration, as `model_id` is: what counts where both are given."""
    gpus: Annotated[list[Gigabytes], Meta(max_length=MOST_STOPS)] | Literal["auto"] | None = None
    cache_size: Annotated[int, Meta(ge=256, le=1 << 24)] | None = None
    cache_quant: Literal["FP16", "Q8", "Q6", "Q4"] | None = None
    max_seq_len: Annotated[int, Meta(ge=64, le=1_048_576)] | None = None
    tensor_parallel: bool | None = None
    backend: Any = None
    model_type: Any = None
    strict: Any = None
    reserve_vram: Any = None
    prompt_template: Any = None
    warmup_prompt: Any = None
    eos_token_list: Any = None
    quant: Any = None
    max_concurrent_requests: Any = None
    backend_extra_args: Any = None
    env: Any = None
    default_sampling: Any = None
    draft_model_id: Any = None
    draft_model_name: Any = None
    draft_gpus: Any = None
    draft_cache_size: Any = None
    draft_cache_quant: Any = None


GallamaBody: Any = (
    GallamaModel
    | Annotated[list[GallamaModel], Meta(min_length=1, max_length=MOST_MODELS)]
)  # fmt: skip
"""One, or a list."""
GALLAMA_NEUTRAL: dict[str, Sequence[Any]] = {
    "backend": ("llama_cpp", "llama_cpp_server"),
    "model_type": ("llm",),
    "strict": (True, False),
    "reserve_vram": (),
    "prompt_template": (),
    "warmup_prompt": (False,),
    "eos_token_list": ([],),
    "quant": (),
    "max_concurrent_requests": (1,),
    "backend_extra_args": ({},),
    "env": ({},),
    "default_sampling": ([],),
    "draft_model_id": (),
    "draft_model_name": (),
    "draft_gpus": ("auto",),
    "draft_cache_size": (),
    "draft_cache_quant": ("FP16",),
}
"""Values of what else it has that ask for nothing."""
GALLAMA_CACHES = {"FP16": "f16", "Q8": "q8_0", "Q6": "q8_0", "Q4": "q4_0"}
"""llama.cpp has no cache of six bits: the next finer one."""


class GallamaName(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A model's name in gallama's words."""

    model_id: ModelName
