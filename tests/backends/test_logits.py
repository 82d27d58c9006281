"""The repeat penalty looks at logits: those that a distribution carries are the model's own."""

from __future__ import annotations

import inspect
from pathlib import Path as FilePath
from typing import Any

import numpy as np
import pytest

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.backends.llamacpp.binding import library
from llterm.core.query import Fact, Query
from llterm.core.sampling.sampler_chain import Situation
from llterm.core.sampling.sampler_settings import SamplerSettings, Sampling
from llterm.core.tokens import Anchor, Path
from llterm.errors import ModelError
from llterm.session.stories import STORIES
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.known_tokens import chain_of
from tests.helpers.llama_arrays import ENTRY, Array
from tests.helpers.plain_decoder import PlainDecoder
from tests.helpers.tiny_models import tiny_llama

SETTINGS = SamplerSettings(
    repeat_penalty=1.3, frequency_penalty=0.125, presence_penalty=0.25, penalty_last_n=64
)


@pytest.mark.parametrize("number", range(len(STORIES)))
async def test_penalties_are_llama_cpps_on_a_real_model(number: int) -> None:
    backend, plain, llama = (
        await open_llama(BUNDLED, LlamaSettings(threads=1)), PlainDecoder(BUNDLED), library()
    )  # fmt: skip
    vocabulary = backend.vocabulary
    tokens = vocabulary.prefix + vocabulary.encode(STORIES[number].text.encode())
    logits = plain.logits(tokens)
    async for answer in backend.ask([Query(Path(Anchor(tokens)), full=True)]):
        assert isinstance(answer, Fact)
        distribution = answer.distribution
    assert distribution.log_z == pytest.approx(float(np.logaddexp.reduce(logits)), abs=0.02)

    chain = chain_of(vocabulary, Sampling(SETTINGS, None))
    ladder = chain.ladder(distribution, Situation(tokens))
    assert chain.caveat(distribution) == ""

    theirs = np.zeros(vocabulary.size, ENTRY)
    theirs["id"], theirs["logit"] = np.arange(vocabulary.size), logits
    sampler = llama.llama_sampler_init_penalties(vocabulary.size, 64, 1.3, 0.125, 0.25)
    p = Array(llama, theirs).apply(sampler, tokens).p()
    llama.llama_sampler_free(sampler)
    expected = np.array([p[id] for id in range(vocabulary.size)])
    np.testing.assert_allclose(ladder.p_final, expected, atol=2e-3)
    assert not np.allclose(ladder.p_base, expected, atol=2e-2)
    await backend.close()
    plain.close()


async def test_no_answer_is_made_of_what_is_no_number(tmp_path: FilePath) -> None:
    """Every way to ask a backend, found by itself."""
    backend = await open_llama(tiny_llama(tmp_path / "broken.gguf", scale=float("nan")))
    tokens = backend.vocabulary.prefix + backend.vocabulary.encode(b"a cat")
    query = Query(Path(Anchor(tokens[:-1]), tokens[-1:]))
    ways = {
        name: way
        for name, way in inspect.getmembers(LlamaBackend, inspect.isfunction)
        if not name.startswith("_")
        and str(inspect.signature(way).return_annotation).startswith("AsyncGenerator")
    }
    assert {"ask", "ask_beside", "score", "rows"} <= set(ways)
    for way in ways.values():
        asked: Any = [query] if "queries" in inspect.signature(way).parameters else tokens
        with pytest.raises(ModelError, match="broken gives no probabilities"):
            assert not [one async for one in way(backend, asked)]
    with pytest.raises(ModelError, match="broken gives no probabilities"):
        await backend.attention(tokens, 1, len(tokens))
    await backend.close()
