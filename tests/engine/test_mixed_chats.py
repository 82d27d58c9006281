"""Chats in mixes: each model reads one by its own template, and all share the reply."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import numpy as np
import pytest

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, open_llama
from llterm.core.chat_messages import Chat, ChatMessage, chat_draft
from llterm.core.distribution import Logprobs
from llterm.core.mixing.mix_recipe import Recipe
from llterm.core.mixing.opinion_pools import OpinionPool
from llterm.core.query import Backend, Fact, Query
from llterm.core.tokens import Anchor, Tail
from llterm.core.tokens import Path as TokenPath
from llterm.engine.compare import ModelReader, ModelReference, TextWindow, begin_comparison, compare
from llterm.engine.mixture import Mix
from llterm.engine.prompt_heads import head_of
from llterm.errors import ModelError
from tests.helpers.known_tokens import tokens_of
from tests.helpers.tiny_models import tiny_llama

SPECIAL = ("<|a|>", "<|b|>")
SHORT = "<|a|>{{ messages[-1]['content'] }}<|b|>"
LONG = "{% for one in messages %}<|b|>{{ one.role }}: {{ one.content }}\n{% endfor %}<|a|>reply "
CHAT = Chat("Be kind.", "Hi", (ChatMessage("user", "Who?"), ChatMessage("assistant", "Me.")))
REPLY = b" and so"
EVEN = Recipe("democratic", OpinionPool((1.0, 1.0)))


@pytest.fixture
async def models(tmp_path: Path) -> AsyncIterator[list[LlamaBackend]]:
    opened = []
    for seed, template in enumerate((SHORT, LONG)):
        path = tiny_llama(tmp_path / f"{seed}.gguf", seed=seed, special=SPECIAL, template=template)
        opened.append(await open_llama(path, LlamaSettings(context=256)))
    yield opened
    for model in opened:
        await model.close()


async def row(source: Backend | Mix, tokens: Tail) -> Logprobs:
    """The distribution after these tokens."""
    async with aclosing(source.ask([Query(TokenPath(Anchor(tokens)), full=True)])) as answers:
        async for answer in answers:
            assert isinstance(answer, Fact)
            assert answer.distribution.full is not None
            return answer.distribution.full
    raise AssertionError


async def own_rows(models: list[LlamaBackend]) -> list[Logprobs]:
    """What each model alone says after the chat, by its own template, and the reply."""
    heads = [await head_of(model, CHAT) for model in models]
    assert heads[0] != heads[1]
    return [
        await row(model, head + model.vocabulary.encode(REPLY))
        for model, head in zip(models, heads, strict=True)
    ]


async def test_each_model_opens_the_chat_by_its_own_template(models: list[LlamaBackend]) -> None:
    mix = Mix(models, EVEN)
    assert mix.by_id
    head = await head_of(mix, CHAT)
    assert mix.chat_reader == mix.names[1], "the longest is told, for windows must have room for it"
    mixed = await row(mix, head + tokens_of(mix.vocabulary, REPLY))
    first, second = await own_rows(models)
    assert np.exp(mixed) == pytest.approx((np.exp(first) + np.exp(second)) / 2, abs=1e-5)
    # Read from its beginning, the reply is the same reply.
    tokens = head + tokens_of(mix.vocabulary, REPLY)
    async with aclosing(mix.score(tokens, len(tokens) - 1)) as scores:
        (scored,) = [score async for score in scores]
    asked = await row(mix, tokens[:-1])
    assert scored.logprob == pytest.approx(asked[tokens[-1]], abs=1e-4)


async def test_a_chat_in_bytes_is_the_same_chat(models: list[LlamaBackend]) -> None:
    mix = Mix(models, EVEN, dropped=0.0, bytewise=True)
    head = await head_of(mix, CHAT)
    mixed = np.exp(await row(mix, head))
    alone = [np.exp(await row(one, await head_of(one, CHAT))) for one in models]
    firsts = np.zeros(256)
    for id, (a, b) in enumerate(zip(*alone, strict=True)):
        token = models[0].vocabulary.token(id)
        if not token.special and token.data:
            firsts[token.data[0]] += (a + b) / 2
    assert mixed[:256] / mixed[:256].sum() == pytest.approx(firsts / firsts.sum(), abs=1e-3)


async def test_the_same_words_in_a_story_are_no_chat(models: list[LlamaBackend]) -> None:
    mix = Mix(models, EVEN, bytewise=True)
    parts = await mix.opened_chat(CHAT)
    head = tokens_of(mix.vocabulary, chat_draft(parts, mix.vocabulary))
    words = "".join(part.text for part in parts).encode()
    assert (await row(mix, head) != await row(mix, tuple(words))).any()


async def test_models_are_compared_on_a_reply_each_after_its_own_opening(
    models: list[LlamaBackend],
) -> None:
    heads = [await head_of(model, CHAT) for model in models]
    head, ids = max(heads, key=len), models[0].vocabulary.encode(REPLY)
    view = TextWindow(head + ids, len(head), -len(head), len(head))
    readers = [ModelReader(model, own) for model, own in zip(models, heads, strict=True)]
    reference = ModelReference(readers[0])
    comparison = begin_comparison(reference, [view], ["same", "other"])
    async for _ in compare(comparison, reference, readers, [view]):
        pass
    same, other = comparison.candidates
    assert list(comparison.places) == list(range(len(ids)))
    assert same.statistics.now()["kld"].value == pytest.approx(0.0, abs=1e-6)
    assert other.statistics.now()["kld"].value > 0.01
    for number, id in enumerate(ids):
        alone = await row(models[1], heads[1] + ids[:number])
        assert other.track.logprob[number] == pytest.approx(alone[id], abs=1e-3)


async def test_a_model_that_cannot_open_the_chat_is_named(
    models: list[LlamaBackend], tmp_path: Path
) -> None:
    path = tiny_llama(tmp_path / "bad.gguf", special=SPECIAL, template="{{ 1 // 0 }}")
    bad = await open_llama(path, LlamaSettings(context=256))
    mix = Mix([models[0], bad], EVEN)
    for _ in range(2):
        with pytest.raises(ModelError) as refused:
            await mix.opened_chat(CHAT)
        assert refused.value.title == "bad: The model's chat template failed"
    await bad.close()


async def test_on_the_event_loop_a_chat_is_there_once_all_templates_are_rendered(
    models: list[LlamaBackend],
) -> None:
    mix, heard = Mix(models, EVEN), asyncio.Event()
    mix.hear_chats(heard.set)
    assert mix.open_chat(CHAT) is None
    while mix.open_chat(CHAT) is None:
        await heard.wait()
        heard.clear()
    assert mix.open_chat(CHAT) == await mix.opened_chat(CHAT) != ()
