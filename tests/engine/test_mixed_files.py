"""Mixes of real GGUF models: different tokenizers, shared cores, what is evaluated."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.backends.registry import BUNDLED, MODELS
from llterm.core.mixing.byte_distribution import END, SIZE
from llterm.core.mixing.mix_recipe import Recipe
from llterm.core.mixing.opinion_pools import OpinionPool
from llterm.core.query import Fact, Query
from llterm.core.tokens import Anchor, Tail, Vocabulary
from llterm.core.tokens import Path as TokenPath
from llterm.engine.mixture import Mix
from llterm.session.stories import STORIES
from tests.helpers.known_tokens import tokens_of
from tests.helpers.plain_decoder import PlainDecoder, counted
from tests.helpers.tiny_models import tiny_llama

ANCHOR = b"the cat."
ONE = LlamaSettings(threads=1)


def next_bytes(decoder: PlainDecoder, vocabulary: Vocabulary, text: bytes) -> NDArray[np.float64]:
    """p of each next byte and of the end after ANCHOR and `text`, over every token path."""
    sums = np.zeros(SIZE)

    def walk(start: Tail, mass: float, rest: bytes) -> None:
        row = np.exp(decoder.logprobs(start).astype(np.float64))
        for id in range(vocabulary.size):
            token = vocabulary.token(id)
            if token.end:
                sums[END] += mass * row[id] if not rest else 0.0
            elif token.special or not token.data:
                continue
            elif token.data.startswith(rest) and len(token.data) > len(rest):
                sums[token.data[len(rest)]] += mass * row[id]
            elif rest.startswith(token.data):
                walk((*start, id), mass * float(row[id]), rest[len(token.data) :])

    walk(vocabulary.prefix + tokens_of(vocabulary, ANCHOR), 1.0, text)
    return np.asarray(sums / sums.sum(), np.float64)


async def test_files_with_different_tokenizers_are_mixed_exactly_by_bytes(tmp_path: Path) -> None:
    paths = [tiny_llama(tmp_path / "bpe.gguf", seed=1),
             tiny_llama(tmp_path / "spm.gguf", seed=2, pieces=True)]  # fmt: skip
    models = [await open_llama(path, ONE) for path in paths]
    decoders = [PlainDecoder(path) for path in paths]
    mix = Mix(models, Recipe("democratic", OpinionPool((1.0, 2.0))), dropped=0.0)
    try:
        assert not mix.by_id
        anchor = Anchor(tuple(ANCHOR))
        for text in (b"", b" ", b" c", b" ca", b"the"):
            async for answer in mix.ask([Query(TokenPath(anchor, tuple(text)), full=True)]):
                assert isinstance(answer, Fact)
                mixed = answer.distribution.full
            assert mixed is not None
            voices = [next_bytes(decoder, model.vocabulary, text)
                      for decoder, model in zip(decoders, models, strict=True)]  # fmt: skip
            expected = (voices[0] + 2 * voices[1]) / 3
            assert np.exp(mixed) == pytest.approx(expected, rel=2e-3, abs=1e-8)
    finally:
        await mix.close()
        for decoder in decoders:
            decoder.close()


async def test_two_models_decode_in_turn_and_read_a_story_once() -> None:
    names = ("fable", "fable-q8_0")
    models = [await open_llama(MODELS / BUNDLED[name]) for name in names]
    mix = Mix(models, Recipe("democratic", OpinionPool((1.0, 1.0))))
    try:
        vocabulary = mix.vocabulary
        story = vocabulary.prefix + tokens_of(vocabulary, STORIES[0].text.encode())
        anchor = Anchor(story)
        with counted() as seen:
            for tail in ((), (300,), (300, 301)):
                async for _ in mix.ask([Query(TokenPath(anchor, tail))]):
                    pass
        # Each reads the story, then a token an answer, which is alone and has a double.
        assert seen.tokens <= 2 * (len(story) - 1 + 3 * 2)
        with counted() as seen:
            scored = [one async for one in mix.score(story, 10, 5)]
        assert len(scored) == len(story) - 10
        assert seen.tokens <= 2 * len(story)
        queries = [Query(TokenPath(anchor, (id,))) for id in range(300, 340)]
        task = asyncio.create_task(_all(mix, queries))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(await _all(mix, queries)) == len(queries)
    finally:
        await mix.close()


async def _all(mix: Mix, queries: list[Query]) -> list[object]:
    return [answer async for answer in mix.ask(queries)]
