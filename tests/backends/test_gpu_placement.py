"""What lies on which GPU, on machines that are made up: what does not fit is refused before it is
loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llterm.backends.llamacpp import LlamaSettings, ModelInfo, inspect_gguf
from llterm.backends.llamacpp.binding import library
from llterm.backends.llamacpp.gpu_placement import GB, Gpu, gpus_here, placed
from llterm.backends.llamacpp.loader import model_params
from llterm.backends.llamacpp.memory_estimate import COMPUTE
from llterm.errors import ModelError
from tests.helpers.bundled_model import BUNDLED

INFO = inspect_gguf(BUNDLED)
EVERYTHING = INFO.layers + 1
SMALL = LlamaSettings(context=256)
MUCH = 8 * GB
ROOM = st.lists(st.floats(0.001, 0.06), min_size=1, max_size=4)
"""GB: the bundled model takes some thousandths beside llama.cpp's buffers, of its own size."""


def machine(*free: float) -> list[Gpu]:
    return [Gpu(f"GPU{number}", room) for number, room in enumerate(free)]


def on(*, free: list[float], info: ModelInfo = INFO, **settings: Any) -> LlamaSettings:
    return placed(info, LlamaSettings(context=256, **settings), machine(*free))


def test_without_a_word_of_gpus_nothing_lies_there() -> None:
    assert on(free=[MUCH]) == SMALL
    assert on(free=[]).layers == 0


def test_auto_takes_all_layers_where_they_fit_and_none_without_a_gpu() -> None:
    assert on(free=[MUCH], gpu_layers="auto").gpu_layers == EVERYTHING
    assert on(free=[MUCH, MUCH], gpu_layers="auto").gpu_layers == EVERYTHING
    assert on(free=[], gpu_layers="auto").gpu_layers == 0


def test_named_gpus_take_all_layers_or_as_many_as_are_asked_for() -> None:
    assert on(free=[MUCH, MUCH], gpus=(2.0, 1.0)).gpu_layers == EVERYTHING
    assert on(free=[MUCH, MUCH], gpus=(2.0,), gpu_layers=2).gpu_layers == 2
    assert on(free=[MUCH, MUCH], gpus=(0.0, 1.0), gpu_layers=99).gpu_layers == EVERYTHING


@pytest.mark.parametrize(
    ("free", "settings", "said"),
    [
        ([MUCH], {"gpus": (0.01,)}, "does not fit on GPU0"),
        ([MUCH / 1000], {"gpus": (2.0,)}, "does not fit on GPU0"),
        ([MUCH, MUCH], {"gpus": (0.03, 0.014)}, "does not fit on GPU1"),
        ([], {"gpus": (8.0,)}, "1 GPUs"),
        ([MUCH], {"gpus": (8.0, 8.0)}, "2 GPUs"),
        ([MUCH], {"gpus": (0.0,)}, "no GPU"),
        ([MUCH], {"gpu_layers": 1, "main_gpu": 1}, "no GPU 1"),
        ([], {"gpu_layers": "auto", "main_gpu": 1}, "no GPU 1"),
        ([], {"gpu_layers": 3, "split_mode": "tensor"}, "tensor"),
        ([MUCH, MUCH], {"gpus": (8.0, 0.0), "split_mode": "none", "main_gpu": 1}, "GPU1"),
    ],
)
def test_what_is_not_there_or_does_not_fit_is_refused(
    free: list[float], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ModelError, match=said) as raised:
        on(free=free, **settings)
    assert raised.value.hint


@given(rooms=ROOM, split=st.sampled_from(["none", "layer", "row", "tensor"]))
def test_auto_takes_as_many_as_fit_and_not_one_more(rooms: list[float], split: str) -> None:
    gpus = tuple(rooms)
    free = [MUCH] * len(rooms)
    layers = on(free=free, gpus=gpus, gpu_layers="auto", split_mode=split).layers
    assert 0 <= layers <= EVERYTHING
    if layers:
        assert on(free=free, gpus=gpus, gpu_layers=layers, split_mode=split).layers == layers
    if layers < EVERYTHING:
        with pytest.raises(ModelError, match="does not fit"):
            on(free=free, gpus=gpus, gpu_layers=layers + 1, split_mode=split)


def test_a_larger_cache_takes_more_room() -> None:
    need = BUNDLED.stat().st_size + COMPUTE / 10 + INFO.cell * 40_000
    assert on(free=[need], gpu_layers="auto", cache_size=4096).layers == EVERYTHING
    assert on(free=[need], gpu_layers="auto", cache_size=1_000_000).layers < EVERYTHING
    fewer = on(free=[need], gpu_layers="auto", cache_size=200_000).layers
    assert fewer <= on(free=[need], gpu_layers="auto", cache_size=200_000, kv_type="q4_0").layers


def test_what_is_placed_reaches_llama_cpp() -> None:
    settings = on(
        free=[MUCH] * 4, gpus=(3.0, 2.0, 1.0, 0.0), split_mode="row", main_gpu=2, gpu_layers=3
    )
    params = model_params(library(), settings)
    assert (params.n_gpu_layers, params.split_mode, params.main_gpu) == (3, 2, 2)
    assert [params.tensor_split[number] for number in range(5)] == [3.0, 2.0, 1.0, 0.0, 0.0]
    usual = model_params(library(), SMALL)
    assert (usual.n_gpu_layers, usual.main_gpu) == (0, 0)
    assert not usual.tensor_split


@pytest.mark.parametrize(
    ("split", "number"), [("none", 0), ("layer", 1), ("row", 2), ("tensor", 3)]
)
def test_each_way_to_split_has_llama_cpps_number(split: str, number: int) -> None:
    llama = library()
    assert model_params(llama, LlamaSettings(split_mode=split, gpu_layers=1)).split_mode == number
    assert getattr(llama, f"LLAMA_SPLIT_MODE_{split.upper()}") == number


def test_this_machines_gpus_are_listed_as_llama_cpp_has_them() -> None:
    assert bool(gpus_here()) == bool(library().llama_supports_gpu_offload())


def test_a_file_of_unknown_size_is_still_shared_out(tmp_path: Path) -> None:
    from tests.helpers.tiny_models import tiny_llama

    info = inspect_gguf(tiny_llama(tmp_path / "a.gguf"))
    assert on(info=info, free=[MUCH], gpu_layers="auto").layers == info.layers + 1
