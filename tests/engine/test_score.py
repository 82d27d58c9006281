"""A text read in windows: as decoding token by token, and as llama.cpp's perplexity tool counts."""

from __future__ import annotations

import math

import numpy as np
import pytest

from llterm.backends.llamacpp import LlamaBackend
from llterm.core.scored_text import TextReadings, TokenReading, summarise
from llterm.core.tokens import Tail
from llterm.engine.score import Method, score_text
from llterm.session.stories import STORIES
from tests.helpers.plain_decoder import PlainDecoder, counted

TEXT = (
    "The old woman opened the box very slowly. “What is it?” asked the fox — and the wind said"
    " nothing. Inside it was a café of 猫, a ring, and 12,345 nuts!\n\n"
) * 8 + "\n".join(story.text for story in STORIES)


async def read(
    backend: LlamaBackend, ids: Tail, window: int, stride: int, method: Method = "overlap"
) -> list[TokenReading]:
    scores = score_text(backend, ids, window=window, stride=stride, method=method)
    text = TextReadings()
    async for part, _ in scores:
        text.add(part)
    return [*text]


async def test_each_token_as_decoding_alone_says(
    backend: LlamaBackend, plain: PlainDecoder
) -> None:
    ids = backend.vocabulary.encode(TEXT.encode())[:160]
    prefix = backend.vocabulary.prefix
    readings = await read(backend, ids, 512, 256)
    assert [reading.token.id for reading in readings] == list(ids)
    for index, reading in enumerate(readings):
        alone = plain.logprobs(prefix + ids[:index])
        assert reading.index == index
        assert abs(reading.p - math.exp(float(alone[ids[index]]))) < 2e-3
        p = np.exp(alone.astype(np.float64))
        assert abs(reading.entropy + float((p * np.log2(np.maximum(p, 1e-300))).sum())) < 0.02
        bits = -np.log2(np.maximum(p, 1e-300))
        assert reading.varentropy == pytest.approx(
            float((p * (bits - reading.entropy) ** 2).sum()), 0.01
        )
        assert reading.mass(5) == pytest.approx(float(np.sort(p)[-5:].sum()), abs=2e-3)
        assert (
            reading.top[0].token.id == int(alone.argmax())
            or reading.top[0].logprob - alone.max() < 0.01
        )


async def test_past_the_window_each_token_sees_what_is_stated(
    backend: LlamaBackend, plain: PlainDecoder
) -> None:
    ids = backend.vocabulary.encode(TEXT.encode())[:260]
    prefix = backend.vocabulary.prefix
    size = 64 - len(prefix)
    readings = await read(backend, ids, 64, 20)
    assert [reading.token.id for reading in readings] == list(ids)
    for index in range(0, len(ids), 7):
        # Windows end at size, size + 20, size + 40, …
        end = size + max(-(-(index + 1 - size) // 20), 0) * 20
        begin = max(min(end, len(ids)) - size, 0)
        alone = plain.logprobs(prefix + ids[begin:index])
        assert abs(readings[index].p - math.exp(float(alone[ids[index]]))) < 2e-3


async def test_perplexity_is_llama_cpps(backend: LlamaBackend, plain: PlainDecoder) -> None:
    """Its method: windows side by side, begin-of-text first, the second half of each counted."""
    window = 128
    prefix = backend.vocabulary.prefix
    ids = backend.vocabulary.encode((TEXT * 2).encode())
    readings = await read(backend, ids, window, window, "halves")
    tokens = prefix + ids
    nats: list[float] = []
    for begin in range(0, len(tokens) - window + 1, window):
        part = prefix + tokens[begin + 1 : begin + window]
        logprobs = plain.every(part)
        nats += [-float(logprobs[n][part[n + 1]]) for n in range(window // 2, window - 1)]
    assert len(readings) == len(nats)
    theirs = math.exp(sum(nats) / len(nats))
    assert abs(summarise(readings).perplexity / theirs - 1) < 1e-3


async def test_nothing_is_evaluated_twice_within_the_context(backend: LlamaBackend) -> None:
    ids = backend.vocabulary.encode(TEXT.encode())
    with counted() as seen:
        found = await read(backend, ids, 2048, 1000)
    assert len(found) == len(ids)
    assert seen.tokens == len(ids)
