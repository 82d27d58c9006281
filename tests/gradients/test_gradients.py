"""Gradients of the bundled model, in the real process."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from llterm.backends.gradients_process import GradientProcess
from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.core.attribution import Question
from llterm.core.attribution_methods import AttributionSettings, Method
from llterm.engine.attribute import attribute
from llterm.errors import CapabilityMissing
from llterm.session.stories import STORIES
from tests.gradients.reference import FILE, reference
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.program import run
from tests.helpers.tiny_models import tiny_hybrid, tiny_llama


@pytest.fixture
async def process() -> AsyncIterator[GradientProcess]:
    made = GradientProcess(BUNDLED)
    yield made
    await made.close()


def asked(backend: LlamaBackend, story: int, size: int) -> Question:
    vocabulary = backend.vocabulary
    ids = vocabulary.encode(STORIES[story].text.encode())
    return Question(vocabulary.prefix + ids[:size], len(vocabulary.prefix), ids[size])


async def test_integrated_gradients_are_complete(
    backend: LlamaBackend, process: GradientProcess
) -> None:
    """Their sum is the target's logprob less its logprob after the baseline, within 5 %."""
    how = AttributionSettings("integrated-gradients")
    for story, size in ((0, 12), (1, 20), (2, 6)):
        question = asked(backend, story, size)
        attribution = await attribute(backend, question, how, process)
        assert attribution.gap is not None
        assert attribution.gap < 0.05
        assert len(attribution.values) == size
        # What the gap is measured with is the model's own figure.
        assert attribution.logprob is not None
        assert not attribution.notes
        assert abs(attribution.logprob - await own(backend, question)) < 0.02


async def own(backend: LlamaBackend, question: Question) -> float:
    """llama.cpp's logprob of the target."""
    tokens = (*question.tokens, question.target)
    scores = [one async for one in backend.score(tokens, len(tokens) - 1)]
    return scores[0].logprob


async def test_slopes_are_what_small_changes_of_the_embeddings_do() -> None:
    import torch

    from llterm.backends.gradients_child import GradientModel, answer

    model = GradientModel(BUNDLED)
    tokens, first, target = [0, 300, 301, 302, 303], 1, 40
    x = model.embed(tokens)
    step = 1e-2
    slopes = torch.zeros_like(x)
    with torch.no_grad():
        for token in range(first, len(tokens)):
            change = torch.eye(x.shape[1]) * step
            changed = x[None].repeat(2 * x.shape[1], 1, 1)
            changed[: x.shape[1], token] += change
            changed[x.shape[1] :, token] -= change
            found = model.logprobs(changed, target)
            slopes[token] = (found[: x.shape[1]] - found[x.shape[1] :]) / (2 * step)
    question = {"tokens": tokens, "first": first, "target": target}
    lengths = answer(model, {**question, "method": "saliency"})["values"]
    products = answer(model, {**question, "method": "input-x-gradient"})["values"]
    assert lengths == pytest.approx(slopes[first:].norm(dim=-1).tolist(), rel=0.02)
    wanted = (slopes * x)[first:].sum(-1).tolist()
    assert products == pytest.approx(wanted, abs=0.02 * float(np.abs(wanted).max()))


async def test_a_long_text_is_cut_and_says_so(
    backend: LlamaBackend, process: GradientProcess
) -> None:
    question = asked(backend, 0, 20)
    attribution = await attribute(
        backend, question, AttributionSettings("saliency", limit=8), process
    )
    assert len(attribution.values) == 8
    assert attribution.first == len(question.tokens) - 8
    assert "last 8 tokens" in attribution.notes[0]


async def test_stopping_ends_the_process_and_it_starts_again(
    backend: LlamaBackend, process: GradientProcess
) -> None:
    question, how = asked(backend, 0, 20), AttributionSettings("integrated-gradients")
    started = asyncio.Event()
    task = asyncio.create_task(attribute(backend, question, how, process, lambda _: started.set()))
    await started.wait()
    child = process.process
    assert child is not None
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert child.returncode is not None
    assert (await attribute(backend, question, how, process)).gap is not None


async def test_what_transformers_cannot_read_is_said(tmp_path: Path) -> None:
    """Jamba is no architecture of its GGUF reader."""
    made = GradientProcess(tiny_hybrid(tmp_path / "hybrid.gguf"))
    for _ in range(2):
        with pytest.raises(CapabilityMissing, match="transformers cannot read hybrid"):
            await made.ask(
                Question((0, 1, 2), 1, 3), AttributionSettings("saliency"), lambda _: None
            )
    await made.close()


async def test_another_reading_of_the_model_is_noted(tmp_path: Path) -> None:
    """Two models of one shape stand for one model that is read in two ways."""
    path = tiny_llama(tmp_path / "one.gguf", seed=1)
    backend = await open_llama(path, LlamaSettings(threads=1))
    made = GradientProcess(tiny_llama(tmp_path / "other.gguf", seed=2))
    try:
        question = Question((0, 5, 6, 7, 8), 1, 9)
        found = await attribute(backend, question, AttributionSettings("saliency"), made)
        assert "reads this model otherwise" in found.notes[0]
    finally:
        await made.close()
        await backend.close()


@pytest.mark.parametrize("method", ["saliency", "input-x-gradient", "integrated-gradients"])
def test_the_command(tmp_path: Path, method: Method) -> None:
    text = "The king had three sons"
    ran = run(tmp_path, "score", "--prompt", text, "--attribution", method, "--format", "json")
    assert ran.code == 0, ran.err
    result = json.loads(ran.out)
    assert bytes(result["tokens"][0]["bytes"]) == b"The"
    assert all(math.isfinite(one["value"]) for one in result["tokens"])


def test_the_reference_for_attention_is_current() -> None:
    written, made = json.loads(FILE.read_text("utf-8")), reference()
    assert written["model"] == made["model"]
    for first, other in zip(written["contexts"], made["contexts"], strict=True):
        assert first["tokens"] == other["tokens"]
        for layer, again in zip(first["layers"], other["layers"], strict=True):
            flat, same = ([x for row in rows for x in row] for rows in (layer, again))
            assert flat == pytest.approx(same, abs=1e-4)
