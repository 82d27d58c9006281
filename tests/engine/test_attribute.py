"""Leave-one-out against cold evaluation; its cost; what a source cannot do."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.backends.llamacpp.binding import library
from llterm.backends.scripted import ScriptedBackend
from llterm.core.attribution import Attribution, Question
from llterm.core.attribution_methods import METHODS, AttributionSettings, Method
from llterm.core.query import Query
from llterm.core.tokens import Anchor, Tail
from llterm.core.tokens import Path as TokenPath
from llterm.engine.attribute import attribute, price
from llterm.errors import CapabilityMissing, LltermError, UsageError
from llterm.session.stories import STORIES
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.plain_decoder import PlainDecoder, counted
from tests.helpers.tiny_models import ARCHITECTURES


def text(backend: LlamaBackend) -> Tail:
    story = "\n".join(one.text for one in STORIES).encode() * 4
    return backend.vocabulary.encode(story)


async def test_twenty_contexts_as_cold_evaluation_says(
    plain: PlainDecoder, backend: LlamaBackend
) -> None:
    prefix, ids = backend.vocabulary.prefix, text(backend)
    for number in range(20):
        tokens = prefix + ids[number * 3 : number * 3 + 8 + number]
        target = ids[number * 3 + 8 + number]
        question = Question(tokens, len(prefix), target)
        how = AttributionSettings("leave-one-out", last=6)
        attribution = await attribute(backend, question, how)
        assert attribution.first == max(len(tokens) - 6, len(prefix))
        assert_cold(plain, question, attribution)


def assert_cold(plain: PlainDecoder, question: Question, attribution: Attribution) -> None:
    """Every text evaluated alone, from its first token on."""
    assert attribution.without is not None
    tokens, target = question.tokens, question.target
    whole = float(plain.logprobs(tokens)[target])
    assert attribution.logprob == pytest.approx(whole, abs=5e-3)
    for place, logprob in enumerate(attribution.without):
        at = attribution.first + place
        cold = float(plain.logprobs(tokens[:at] + tokens[at + 1 :])[target])
        assert logprob == pytest.approx(cold, abs=5e-3)
        assert attribution.values[place] == pytest.approx(whole - cold, abs=1e-2)


@pytest.mark.parametrize("name", ["full", "sliding", "hybrid", "recurrent"])
async def test_every_architecture(tmp_path: Path, name: str) -> None:
    path = ARCHITECTURES[name](tmp_path / "tiny.gguf")
    backend = await open_llama(path, LlamaSettings(threads=1))
    plain = PlainDecoder(path)
    try:
        prefix, ids = backend.vocabulary.prefix, text(backend)
        question = Question(prefix + ids[:60], len(prefix), ids[60])
        assert_cold(
            plain,
            question,
            await attribute(backend, question, AttributionSettings("leave-one-out")),
        )
    finally:
        plain.close()
        await backend.close()


async def test_the_cost_is_known_and_the_story_stays(backend: LlamaBackend) -> None:
    prefix, ids = backend.vocabulary.prefix, text(backend)
    tokens = prefix + ids[:200]
    question = Question(tokens[:150], len(prefix), ids[150])
    known = price(backend, question, AttributionSettings("leave-one-out"))
    assert known.before == 150 - 64 - 1
    story = [Query(TokenPath(Anchor(tokens)))]
    for _ in range(2):
        with counted() as at_rest:
            async for _ in backend.ask(story):
                pass
    with counted() as seen:
        await attribute(backend, question, AttributionSettings("leave-one-out"))
    assert seen.tokens == known.tokens, "what the story holds is not evaluated again"
    with counted() as again:
        async for _ in backend.ask(story):
            pass
    assert again.sizes == at_rest.sizes
    assert f"{known.tokens:,} tokens" in known.told


async def test_progress_goes_up_to_the_end_and_it_can_be_stopped(backend: LlamaBackend) -> None:
    prefix, ids = backend.vocabulary.prefix, text(backend)
    question = Question(prefix + ids[:180], len(prefix), ids[180])
    shares: list[float] = []
    how = AttributionSettings("leave-one-out", last=180)
    begun = asyncio.Event()
    task = asyncio.create_task(attribute(backend, question, how, None, lambda _: begun.set()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await attribute(backend, question, AttributionSettings("leave-one-out"), None, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] > 0.98
    assert len(set(shares)) > 5


async def test_any_source_can_leave_tokens_out() -> None:
    backend = ScriptedBackend()
    ids = backend.vocabulary.encode(b"The cat counted the lamps. The cat")
    question = Question((0, *ids[:-1]), 1, ids[-1])
    attribution = await attribute(backend, question, AttributionSettings("leave-one-out"))
    # The scripted model looks at the last two tokens: no other one matters.
    assert attribution.strongest(2) == [len(ids) - 2, len(ids) - 3]
    assert attribution.values[:-3] == pytest.approx(0.0, abs=1e-6)


async def test_what_a_source_cannot_do_is_said() -> None:
    backend = ScriptedBackend()
    question = Question((0, 5, 6), 1, 7)
    for method, family in METHODS.items():
        if family != "omission":
            with pytest.raises(CapabilityMissing):
                price(backend, question, AttributionSettings(method))
    backend.capabilities = replace(backend.capabilities, full_vocabulary=False, top=5)
    with pytest.raises(CapabilityMissing, match="every token's probability"):
        await attribute(backend, question, AttributionSettings("leave-one-out"))
    with pytest.raises(UsageError, match="Nothing of the text"):
        price(backend, Question((0,), 1, 7), AttributionSettings("leave-one-out"))


async def test_layers_and_long_texts(backend: LlamaBackend) -> None:
    prefix, ids = backend.vocabulary.prefix, text(backend)
    question = Question(prefix + ids[:100], len(prefix), ids[100])
    for method in ("attention", "attention-last", "rollout"):
        whole = await attribute(backend, question, AttributionSettings(method))
        part = await attribute(backend, question, AttributionSettings(method, limit=30))
        assert part.values == pytest.approx(whole.values[-30:], abs=2e-3)
        assert part.elsewhere is not None
        assert part.elsewhere == pytest.approx(1 - part.values.sum(), abs=1e-6)
        assert "last 30 tokens" in part.notes[0]
    last = await attribute(backend, question, AttributionSettings("attention-layer", layer=5))
    same = await attribute(backend, question, AttributionSettings("attention-last"))
    assert last.values == pytest.approx(same.values)
    with pytest.raises(LltermError, match="Layer 6 has no attention"):
        await attribute(backend, question, AttributionSettings("attention-layer", layer=6))


@pytest.mark.parametrize(
    "method", [name for name, family in METHODS.items() if family in ("attention", "omission")]
)
async def test_what_fails_on_a_gpu_is_done_on_the_cpu_and_said(
    monkeypatch: pytest.MonkeyPatch, method: Method
) -> None:
    """Every method that asks llama.cpp; the second context is what a GPU has no memory for."""
    backend = await open_llama(BUNDLED, LlamaSettings(threads=1, context=256, gpu_layers=1))
    near = await open_llama(BUNDLED, LlamaSettings(threads=1, context=256))
    llama = library()
    make = llama.llama_init_from_model
    failures: list[Any] = []

    def too_small(model: Any, params: Any) -> Any:
        if not failures:
            failures.append(model)
            return None
        return make(model, params)

    try:
        tokens = backend.vocabulary.prefix + text(backend)[:12]
        question = Question(tokens, len(backend.vocabulary.prefix), text(backend)[12])
        how = AttributionSettings(method, last=4)
        plain = await attribute(near, question, how)
        monkeypatch.setattr(llama, "llama_init_from_model", too_small)
        attribution = await attribute(backend, question, how)
        assert failures
        assert attribution.values == pytest.approx(plain.values, abs=1e-5)
        assert [note for note in attribution.notes if "CPU" in note and "not enough memory" in note]
        assert not [note for note in plain.notes if "CPU" in note]
        failures.clear()
        with pytest.raises(LltermError, match="not enough memory"):
            await attribute(near, question, how)
        with pytest.raises(UsageError):
            await attribute(backend, Question(tokens[:1], 1, 5), how)
    finally:
        await backend.close()
        await near.close()
