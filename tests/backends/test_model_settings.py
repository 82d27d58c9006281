"""What a person sets of a model's cache and attention reaches llama.cpp, or is refused with the
reason."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, inspect_gguf, open_llama
from llterm.backends.llamacpp.binding import library
from llterm.backends.llamacpp.loader import context_params, load
from llterm.backends.llamacpp.memory_estimate import cell_bytes, needed
from llterm.backends.llamacpp.slot_sizes import shared_context
from llterm.backends.registry import file_settings, find_model
from llterm.config import Config, ModelConfig
from llterm.config.model_settings import FOR_A_RUN, model_of
from llterm.config.schema import KV_TYPES
from llterm.core.query import Fact, Query
from llterm.core.tokens import Anchor
from llterm.core.tokens import Path as TokenPath
from llterm.core.weave_settings import WeaveSettings
from llterm.core.weave_state import Weave
from llterm.engine.scheduler import open_scheduler
from llterm.engine.weave import drive
from llterm.errors import LltermError, UsageError
from tests.helpers.bundled_model import BUNDLED

TEXT = b"The forest seemed darker than usual, but that did not bother Elis in the least."
NEAR = {
    "f16": 0.0,
    "f32": 0.001,
    "q8_0": 0.002,
    "q5_1": 0.03,
    "q5_0": 0.03,
    "q4_1": 0.03,
    "q4_0": 0.03,
}
"""How far p may be off f16's with a cache of this type."""
ONE = LlamaSettings(threads=1, context=256)


async def chances(backend: LlamaBackend) -> NDArray[np.float32]:
    tokens = backend.vocabulary.prefix + backend.vocabulary.encode(TEXT)
    async for answer in backend.ask([Query(TokenPath(Anchor(tokens)), full=True)]):
        assert isinstance(answer, Fact)
        assert answer.distribution.full is not None
        return np.exp(answer.distribution.full)
    raise AssertionError


@pytest.mark.parametrize("kind", KV_TYPES)
async def test_a_cache_of_each_type_takes_its_bytes_and_stays_near(kind: str) -> None:
    settings = LlamaSettings(threads=1, context=256, kv_type=kind)
    usual, backend = await open_llama(BUNDLED, ONE), await open_llama(BUNDLED, settings)
    try:
        assert np.abs(await chances(usual) - await chances(backend)).max() <= NEAR[kind]
    finally:
        await usual.close()
        await backend.close()
    info = inspect_gguf(BUNDLED)
    sizes = [_state_bytes(settings, tokens) for tokens in (64, 128)]
    # Beside the cells llama.cpp notes each one's place.
    assert (sizes[1] - sizes[0]) / 64 == pytest.approx(cell_bytes(info, settings), rel=0.02)


def _state_bytes(settings: LlamaSettings, tokens: int) -> int:
    """What llama.cpp writes of a sequence of so many tokens."""
    llama = library()
    loaded = load(BUNDLED, settings, lambda _: True)
    ids = (llama.llama_token * tokens)(*range(tokens))
    assert llama.llama_decode(loaded.context, llama.llama_batch_get_one(ids, tokens)) == 0
    size = llama.llama_state_seq_get_size(loaded.context, 0)
    llama.llama_free(loaded.context)
    llama.llama_model_free(loaded.model)
    return int(size)


@pytest.mark.parametrize(
    ("settings", "number"),
    [
        ({}, 0), ({"flash_attention": "on"}, 1), ({"flash_attention": "off", "gpu_layers": 9}, 0),
        ({"kv_type": "q4_0"}, -1), ({"kv_type": "q4_0", "flash_attention": "on"}, 1),
        ({"gpu_layers": 9}, -1),
    ],
)  # fmt: skip
def test_flash_attention_is_where_it_is_asked_for_or_needed(
    settings: dict[str, object], number: int
) -> None:
    made = LlamaSettings(**settings)  # type: ignore[arg-type]
    assert context_params(library(), made, 512, 4).flash_attn_type == number


async def test_flash_attention_changes_little() -> None:
    usual = await open_llama(BUNDLED, ONE)
    flash = await open_llama(BUNDLED, LlamaSettings(threads=1, context=256, flash_attention="on"))
    try:
        one, other = await chances(usual), await chances(flash)
        assert 0 < np.abs(one - other).max() < 0.01
    finally:
        await usual.close()
        await flash.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kv_type": "q5_1", "flash_attention": "off"}, "flash attention"),
        ({"split_mode": "tensor", "kv_type": "q8_0"}, "tensor"),
        ({"split_mode": "tensor", "flash_attention": "off"}, "tensor"),
        ({"context": 512, "cache_size": 256}, "cache_size"),
    ],
)
def test_what_cannot_be_together_is_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        LlamaSettings(**settings)  # type: ignore[arg-type]
    assert raised.value.hint


@pytest.mark.parametrize("cells", [256, 512, 4096])
async def test_a_weave_goes_on_in_any_cache_that_has_its_story(cells: int) -> None:
    backend = await open_llama(BUNDLED, LlamaSettings(threads=1, context=256, cache_size=cells))
    try:
        assert (backend.capabilities.context, backend.capabilities.cells) == (256, cells)
        tokens = backend.vocabulary.prefix + backend.vocabulary.encode(TEXT)
        rules = WeaveSettings(depth=6, cutoff=0.01, beams=12, heal=False)
        woven = Weave(backend.vocabulary, Anchor(tokens), rules)
        async for _ in drive(woven, backend):
            pass
        assert woven.done
        assert len(woven.view().suggestions) == 12
    finally:
        await backend.close()


def test_without_a_context_a_small_cache_says_what_is_seen() -> None:
    assert LlamaSettings(cache_size=300).room(2048) == (300, 300)
    assert LlamaSettings(cache_size=9000).room(2048) == (2048, 9000)
    assert LlamaSettings().room(-1) == (8192, 10240)
    info = inspect_gguf(BUNDLED)
    small, large = (needed(info, 0, LlamaSettings(cache_size=n)) for n in (1000, 3000))
    assert large == 3 * small


@pytest.mark.parametrize(("cells", "slots", "trained", "each"), [
    (32768, 18, 8192, 1792), (32768, 4, 2048, 2048), (4096, 4, 0, 512), (1000, 8, 100, 100),
])  # fmt: skip
def test_slots_share_a_cache_in_whole_blocks(
    cells: int, slots: int, trained: int, each: int
) -> None:
    assert shared_context(cells, slots, trained) == each


async def test_slots_that_do_not_fit_into_a_cache_are_refused() -> None:
    backend = await open_llama(BUNDLED, ONE)
    try:
        with pytest.raises(UsageError, match="cache_size of 100"):
            await open_scheduler(backend, parallel=4, cells=100)
        scheduler = await open_scheduler(backend, parallel=2, keepers=0, cells=4096)
        assert scheduler.room == 256, "one request sees what the model does"
        await scheduler.close()
    finally:
        await backend.close()


def test_every_setting_of_a_run_is_taken_from_the_file_and_with_the_models_name() -> None:
    typed = (
        "fable,context=512,cache_size=4096,threads=1,kv_type=q8_0,flash_attention=on,"
        "gpu_layers=auto,gpus=22;22;10;0,split_mode=row,main_gpu=1,kernels=fast"
    )
    model = model_of(f"{typed},alias=a,load=use,alias=b")
    settings = model.settings
    assert (model.name, model.aliases, model.on_use) == ("fable", ("a", "b"), True)
    assert {*settings} == {*FOR_A_RUN}
    assert settings["gpus"] == (22.0, 22.0, 10.0, 0.0)
    config = Config(models={"fable": ModelConfig(**settings)})
    made = file_settings(find_model("fable", config))
    assert made == file_settings(find_model("fable", Config()), settings)
    for key in {*FOR_A_RUN} - {"kernels"}:
        assert getattr(made, key) == settings[key]


@pytest.mark.parametrize(
    "typed",
    ["m,gpus=1;two", "m,gpus=-1", "m,gpu_layers=all", "m,kv_type=q3_0", "m,split_mode=half",
     "m,flash_attention=yes", "m,cache_size=1", "m,main_gpu=-1", "m,draught=small", "m,alias=",
     "m,load=later"],
)  # fmt: skip
def test_a_wrong_value_is_named(typed: str) -> None:
    with pytest.raises(LltermError) as raised:
        model_of(typed)
    assert raised.value.title.split()[-1] in ("m", "draught")
