"""Questions that share a model's context take turns: what each gets, and what it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llterm.backends.llamacpp import LlamaBackend, LlamaSettings, cache_images, open_llama
from llterm.backends.registry import MODELS
from llterm.core.distribution import Logprobs
from llterm.core.query import Fact, Query
from llterm.core.tokens import Anchor, Tail
from llterm.core.tokens import Path as TokenPath
from tests.helpers.bundled_model import quantized
from tests.helpers.plain_decoder import counted
from tests.helpers.polling import until

ALL = ["full", "sliding", "recurrent", "hybrid", "bundled", "quantised"]
FIRST = b"The fox and the cat went in the sea at the end of the day. "
SECOND = b"Once upon a time a bear had nothing to eat, and so he said: "
EXACT = ["quantised", "recurrent"]
"""Cells, or states, are the same as alone."""
Figures = NDArray[np.float32]
Question = Callable[[LlamaBackend], Coroutine[None, None, Figures]]


@pytest.fixture(autouse=True)
def one_burst_a_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if each burst took a turn's time."""
    monkeypatch.setattr("llterm.backends.llamacpp.context_turns.TURN", 1e-9)


@pytest.fixture
def path(models: dict[str, Path], name: str) -> Path:
    return MODELS / "fable-q8_0.gguf" if name == "quantised" else models[name]


async def opened(path: Path) -> LlamaBackend:
    """With so little room that a question takes many decodes."""
    return await open_llama(path, LlamaSettings(threads=1, batch=64))


def tokens_of(backend: LlamaBackend, text: bytes, size: int) -> Tail:
    tokens = backend.vocabulary.prefix + backend.vocabulary.encode(text)
    return (tokens * (size // len(tokens) + 1))[:size]


def facts(text: bytes, size: int = 300, count: int = 90) -> Question:
    async def asked(backend: LlamaBackend) -> Figures:
        anchor = Anchor(tokens_of(backend, text, size))
        tails = [(n % 40 + 3, n % 7 + 50, n + 20) for n in range(count)]
        queries = [Query(TokenPath(anchor, tail), keep=5) for tail in tails]
        logprobs: dict[Tail, Logprobs] = {}
        async for answer in backend.ask(queries):
            assert isinstance(answer, Fact)
            logprobs[answer.path.tail] = answer.distribution.logprobs
        return np.concatenate([logprobs[tail] for tail in tails])

    return asked


def scores(
    text: bytes, size: int = 400, *, aside: bool = True, last: int | None = None
) -> Question:
    async def asked(backend: LlamaBackend) -> Figures:
        tokens = tokens_of(backend, text, size)
        start = 1 if last is None else size - last
        parts = [part async for part in backend.score_columns(tokens, start, 3, aside=aside)]
        # How it is cut into parts depends on who else waits.
        places = [
            place for part in parts for place in range(part.first, part.first + len(part.logprobs))
        ]
        assert places == list(range(start, size))
        return np.concatenate([part.logprobs for part in parts])

    return asked


def in_order(text: bytes, size: int = 200, count: int = 60) -> Question:
    """Paths that begin alike, and their beginnings, each alone behind the story."""

    async def asked(backend: LlamaBackend) -> Figures:
        anchor = Anchor(tokens_of(backend, text, size))
        tails = [path[:n] for path in paths(count) for n in range(len(path) + 1)]
        queries = [Query(TokenPath(anchor, tail), keep=5) for tail in dict.fromkeys(tails)]
        logprobs: dict[Tail, Logprobs] = {}
        async for answer in backend.ask_in_order(queries):
            assert isinstance(answer, Fact)
            logprobs[answer.path.tail] = answer.distribution.logprobs
        return np.concatenate([logprobs[query.path.tail] for query in queries])

    return asked


def paths(count: int) -> list[Tail]:
    return [(n % 5 + 3, n % 7 + 50, n + 20, 9, n % 3 + 4) for n in range(count)]


def check_same(figures: Figures, expected: Figures, name: str) -> None:
    """To the last bit where that is kept; otherwise as near as in any company."""
    if name in EXACT:
        assert figures.tobytes() == expected.tobytes()
    assert np.allclose(figures, expected, atol=0.01, equal_nan=True)


async def alone(path: Path, question: Question) -> tuple[Figures, int]:
    """What it answers on a fresh model, and the tokens that takes."""
    backend = await opened(path)
    try:
        return await question(backend), backend.spent.tokens
    finally:
        await backend.close()


async def check_together(path: Path, name: str, questions: Sequence[Question]) -> None:
    """Each question is answered as it is alone, and nothing is evaluated for two of them."""
    lone = [await alone(path, question) for question in questions]
    backend = await opened(path)
    try:
        together = await asyncio.gather(*(question(backend) for question in questions))
        for figures, (expected, _) in zip(together, lone, strict=True):
            check_same(figures, expected, name)
        assert backend.spent.tokens <= sum(tokens for _, tokens in lone)
    finally:
        await backend.close()


QUESTIONS: Sequence[Sequence[Question]] = [
    [facts(FIRST), facts(SECOND)],
    [facts(FIRST), scores(SECOND, 500, aside=False), facts(SECOND, 120)],
    [scores(FIRST, 400), scores(SECOND, 300), scores(FIRST, 200, last=90), facts(SECOND)],
]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("number", range(len(QUESTIONS)))
async def test_answers_are_those_of_a_question_alone_and_nothing_is_evaluated_twice(
    path: Path, name: str, number: int
) -> None:
    await check_together(path, name, QUESTIONS[number])


@pytest.mark.parametrize("name", ALL)
async def test_paths_in_order_have_their_figures_in_any_company(path: Path, name: str) -> None:
    questions = [in_order(FIRST), facts(FIRST, 200, 30), in_order(SECOND), scores(SECOND, 300)]
    await check_together(path, name, questions)


async def test_what_paths_in_order_begin_with_is_evaluated_once() -> None:
    backend = await opened(MODELS / "fable-q8_0.gguf")
    try:
        with counted() as seen:
            await in_order(FIRST)(backend)
        inner = {path[:n] for path in paths(60) for n in range(1, 6)}
        # Each path is a part of a decode; a part of one row has a double.
        assert seen.tokens <= 200 + len(inner) + len(set(paths(60)))
    finally:
        await backend.close()


async def test_figures_in_order_are_those_of_a_path_alone_in_a_new_context(
    tmp_path: Path,
) -> None:
    """Token by token, each asked for by itself; to the last bit, whatever stood there before."""
    model = quantized(tmp_path, "q4_K_M")
    backend = await opened(model)
    try:
        anchor = Anchor(tokens_of(backend, FIRST, 150))
        await facts(FIRST, 150)(backend)
        chosen = paths(3)
        tails = dict.fromkeys(path[:n] for path in chosen for n in range(len(path) + 1))
        read: dict[Tail, Logprobs] = {}
        async for answer in backend.ask_in_order(
            [Query(TokenPath(anchor, tail), keep=5) for tail in tails]
        ):
            assert isinstance(answer, Fact)
            read[answer.path.tail] = answer.distribution.logprobs
    finally:
        await backend.close()
    for path in chosen:
        fresh = await opened(model)
        try:
            own = Anchor(anchor.tokens)
            for n in range(len(path) + 1):
                (fact,) = [
                    answer async for answer in fresh.ask([Query(TokenPath(own, path[:n]), keep=5)])
                ]
                assert isinstance(fact, Fact)
                assert fact.distribution.logprobs.tobytes() == read[path[:n]].tobytes()
        finally:
            await fresh.close()


async def test_two_stories_on_one_model_take_turns_without_evaluating_them_anew() -> None:
    """Two people weave at once: each step costs its own tokens, not the stories."""
    backend = await opened(MODELS / "fable-q8_0.gguf")
    try:
        stories = [Anchor(tokens_of(backend, text, 600)) for text in (FIRST, SECOND)]
        for story in stories:
            await ask(backend, story, [()])
        with counted() as seen:
            for step in range(8):
                for story in stories:
                    await ask(backend, story, [(*range(5, 5 + step), 40 + n) for n in range(3)])
        # What its last step evaluated is there too: one token a path, and the new one before them.
        assert seen.tokens <= 8 * 2 * (3 + 3)
    finally:
        await backend.close()


@pytest.mark.parametrize("name", ["bundled", "quantised", "recurrent"])
async def test_what_was_let_go_for_want_of_memory_is_evaluated_again_and_all_end(
    path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_images, "MOST_BYTES", 0)
    questions = [facts(FIRST), facts(SECOND), scores(SECOND, 500, aside=False)]
    lone = [await alone(path, question) for question in questions]
    backend = await opened(path)
    try:
        together = await asyncio.gather(*(question(backend) for question in questions))
        for figures, (expected, _) in zip(together, lone, strict=True):
            assert np.allclose(figures, expected, atol=0.1, equal_nan=True)
        assert backend.spent.tokens > sum(tokens for _, tokens in lone)
    finally:
        await backend.close()


async def test_a_short_question_is_answered_while_long_ones_are_under_way(
    models: dict[str, Path],
) -> None:
    backend = await opened(models["bundled"])
    ended: list[str] = []

    async def named(name: str, question: Question) -> None:
        await question(backend)
        ended.append(name)

    try:
        long = [
            asyncio.create_task(named("long", scores(text, 1500, aside=False)))
            for text in (FIRST, SECOND)
        ]
        await until(lambda: backend.spent.decodes > 2)
        await asyncio.gather(*long, named("short", facts(SECOND, 20, 1)))
        assert ended == ["short", "long", "long"]
    finally:
        await backend.close()


@pytest.mark.parametrize("name", ["bundled", "quantised", "recurrent"])
async def test_who_goes_while_it_waits_takes_nothing_with_it(path: Path, name: str) -> None:
    """Of three the middle one is given up half way, the last before it begins."""
    question = scores(FIRST, 450)
    expected, _ = await alone(path, question)
    backend = await opened(path)
    try:
        staying = asyncio.create_task(question(backend))
        half: AsyncGenerator[Any] = backend.score_columns(tokens_of(backend, SECOND, 450))
        async with aclosing(half):
            await anext(half)
            unbegun = asyncio.create_task(scores(SECOND, 450)(backend))
            await asyncio.sleep(0)
            unbegun.cancel()
        check_same(await staying, expected, name)
        check_same(await question(backend), expected, name)
    finally:
        await backend.close()


@pytest.mark.parametrize("name", ["full", "recurrent", "hybrid"])
async def test_a_reading_that_is_stopped_anywhere_leaves_the_next_one_right(path: Path) -> None:
    expected, _ = await alone(path, scores(FIRST, 450, aside=False))
    backend = await opened(path)
    try:
        for pause in range(8):
            parts = backend.score_columns(tokens_of(backend, FIRST, 450), aside=False)
            async with aclosing(parts):
                await anext(parts)
                for _ in range(pause * 20):
                    await asyncio.sleep(0)
            # From the middle on: what stands before it may be there still.
            read = await scores(FIRST, 450, aside=False, last=200)(backend)
            assert np.allclose(read, expected[-200:], atol=0.01)
    finally:
        await backend.close()


async def test_answers_that_nobody_reads_yet_hold_up_nobody_else(models: dict[str, Path]) -> None:
    """One handle asks a second question before it has read the answers of its first."""
    backend = await opened(models["bundled"])
    try:
        unread = backend.score_columns(tokens_of(backend, FIRST, 900), aside=False)
        async with aclosing(unread):
            await anext(unread)
            async with aclosing(backend.score_columns(tokens_of(backend, SECOND, 900))) as others:
                await anext(others)
                assert len(await facts(SECOND)(backend))
                assert [part async for part in others]
            assert [part async for part in unread]
    finally:
        await backend.close()


async def ask(backend: LlamaBackend, anchor: Anchor, tails: Sequence[Tail]) -> None:
    async for answer in backend.ask([Query(TokenPath(anchor, tail), keep=3) for tail in tails]):
        assert isinstance(answer, Fact)
