"""Attention weights in process: as transformers computes them, and out of the story's way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.core.attention_weights import rollout
from llterm.core.query import Query
from llterm.core.tokens import Anchor, Tail
from llterm.core.tokens import Path as TokenPath
from llterm.errors import CapabilityMissing
from llterm.session.stories import STORIES
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.plain_decoder import counted

REFERENCE = json.loads((Path(__file__).parent / "attention.json").read_text("utf-8"))
"""Made by tests/gradients/reference.py."""


def text(backend: LlamaBackend, size: int) -> Tail:
    story = "".join(one.text for one in STORIES).encode() * 20
    return (backend.vocabulary.prefix + backend.vocabulary.encode(story))[:size]


async def hold(backend: LlamaBackend, tokens: Tail) -> int:
    """Ask what follows; the tokens evaluated for it."""
    with counted() as seen:
        async for _ in backend.ask([Query(TokenPath(Anchor(tokens)))]):
            pass
    return seen.tokens


async def test_weights_are_those_of_transformers(backend: LlamaBackend) -> None:
    """Every layer, every row, the mean over heads."""
    assert REFERENCE["model"] == BUNDLED.name
    for context in REFERENCE["contexts"]:
        tokens, layers = tuple(context["tokens"]), context["layers"]
        attention = await backend.attention(tokens, len(tokens), len(tokens))
        assert attention.layers == tuple(range(len(layers)))
        for ours, theirs in zip(attention.weights, layers, strict=True):
            for number, row in enumerate(theirs):
                assert np.abs(ours[number, : number + 1] - row).max() <= 1e-2
                assert not ours[number, number + 1 :].any()


async def test_a_part_is_a_part_of_the_whole(backend: LlamaBackend) -> None:
    """Over several decodes, and with what the story's context holds already."""
    tokens = text(backend, 301)
    whole = await backend.attention(tokens, 301, 301)
    assert whole.weights.sum(axis=-1) == pytest.approx(1.0, abs=1e-4)
    cold = await backend.attention(tokens, 1, 301)
    assert cold.evaluated == 301
    await hold(backend, tokens)
    for rows, columns in ((1, 301), (1, 20), (20, 20)):
        part = await backend.attention(tokens, rows, columns)
        assert part.evaluated == max(rows, 2), "only the rows that are asked for"
        assert part.weights == pytest.approx(whole.weights[:, -rows:, -columns:], abs=2e-3)
    last = await backend.attention(tokens, 64, 64)
    assert rollout(last) == pytest.approx(rollout(whole)[-64:], abs=2e-3)


async def test_the_storys_cells_stay(backend: LlamaBackend) -> None:
    tokens = text(backend, 120)
    assert await hold(backend, tokens) >= 120
    at_rest = await hold(backend, tokens)
    await backend.attention(tokens[:60], 1, 60)
    await backend.attention((*tokens, 5, 6), 1, 10)
    assert await hold(backend, tokens) == at_rest


@pytest.mark.parametrize("name", ["full", "sliding", "hybrid"])
async def test_other_architectures(models: dict[str, Path], name: str) -> None:
    """A sliding window and recurrent layers: from nothing and with a story held, the same."""
    backend = await open_llama(models[name], LlamaSettings(threads=1))
    try:
        tokens = text(backend, 90)
        cold = await backend.attention(tokens, 40, 90)
        await hold(backend, tokens)
        again = await backend.attention(tokens, 40, 90)
        assert again.weights == pytest.approx(cold.weights, abs=2e-3)
        assert cold.layers == ((1,) if name == "hybrid" else (0, 1))
        assert cold.weights.sum(axis=-1) == pytest.approx(1.0, abs=1e-3)
        if name == "sliding":
            assert not cold.weights[0, -1, : 90 - 16].any(), "this layer sees 16 tokens"
    finally:
        await backend.close()


async def test_a_model_without_attention_says_so(models: dict[str, Path]) -> None:
    backend = await open_llama(models["recurrent"], LlamaSettings(threads=1))
    try:
        assert not backend.capabilities.attention
        with pytest.raises(CapabilityMissing, match="shows no attention"):
            await backend.attention((0, 1, 2), 1, 3)
    finally:
        await backend.close()


async def test_it_can_be_stopped(backend: LlamaBackend) -> None:
    tokens = text(backend, 1500)
    task = asyncio.create_task(backend.attention(tokens, 1, 1500))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    found = await backend.attention(tokens[:20], 1, 20)
    assert found.weights.shape == (6, 1, 20)
