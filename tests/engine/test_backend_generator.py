"""Draws for many requests from any backend: what each one gets, and whose turn it is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest

from llterm.backends.scripted import ScriptedBackend
from llterm.constraints.spec import regex
from llterm.core.sampling.sampler_settings import PRESETS, SamplerSettings, Sampling
from llterm.core.tokens import text_bytes
from llterm.engine.backend_generator import BackendGenerator
from llterm.engine.generation import (
    Busy,
    GenerationRequest,
)
from llterm.engine.request_turns import RequestTurns
from tests.helpers.generations import generated
from tests.helpers.polling import until

SEEDED = Sampling(replace(PRESETS["neutral"], seed=1), None)


def request(
    generator: BackendGenerator, text: str = "The old", **given: object
) -> GenerationRequest:
    vocabulary = generator.vocabulary
    prompt = vocabulary.prefix + (vocabulary.known_tokens(text.encode()) or ())
    return replace(GenerationRequest(prompt, SEEDED), **given)  # type: ignore[arg-type]


async def passed(gate: asyncio.Event) -> None:
    """Wait for the gate."""
    await gate.wait()


async def test_a_stop_text_across_tokens_ends_it_also_at_the_last_that_may_be_drawn() -> None:
    generator = BackendGenerator(ScriptedBackend(), 1, 1)
    tokens, end = await generated(generator, request(generator, most=9, ignore_end=True))
    assert end.finish == "length"
    text = text_bytes(generator.vocabulary, (token.id for token in tokens)).decode()
    stopped, end = await generated(
        generator, request(generator, most=9, ignore_end=True, stops=(text[-2:],))
    )
    assert end.finish == "stop"
    assert stopped == tokens[: len(stopped)]


async def test_before_the_least_tokens_nothing_ends_it() -> None:
    generator = BackendGenerator(ScriptedBackend(), 1, 1)
    ends = {id for id in range(generator.vocabulary.size) if generator.vocabulary.token(id).end}
    for choice in range(20):
        asked = request(generator, most=40, least=20, choice=choice, stops=(" ",))
        tokens, _ = await generated(generator, asked)
        assert len(tokens) >= 20
        assert not ends & {token.id for token in tokens[:20]}


async def test_a_constraint_and_what_is_allowed_hold_together() -> None:
    generator = BackendGenerator(ScriptedBackend(), 1, 1)
    allowed = frozenset(generator.vocabulary.known_tokens(b"abc") or ())
    asked = request(generator, most=9, constraint=regex("[a-z]{4}"), allowed=allowed)
    tokens, end = await generated(generator, asked)
    text = text_bytes(generator.vocabulary, (token.id for token in tokens))
    assert len(text) == 4
    assert set(text) <= set(b"abc")
    assert end.finish == "end"


async def test_what_is_told_of_a_token_is_of_the_raw_model_and_what_is_kept_of_the_chain() -> None:
    generator = BackendGenerator(ScriptedBackend(), 1, 1)
    greedy = Sampling(SamplerSettings(temperature=0.0), None)
    asked = request(generator, sampling=greedy, most=4, top=100, kept=5, watched=(3, 4))
    tokens, _ = await generated(generator, asked)
    for token in tokens:
        assert len(token.top) == 100
        assert token.top[0] == (token.id, token.logprob)
        assert list(token.kept) == [(token.id, 1.0)]
        assert len(token.watched) == 2
    assert [value for _, value in token.top] == sorted((v for _, v in token.top), reverse=True)


async def test_requests_take_turns_by_who_asks_and_too_many_are_busy() -> None:
    gate = asyncio.Event()
    generator = BackendGenerator(ScriptedBackend(pace=partial(passed, gate)), 1, 3)
    done: list[str] = []

    async def ask(whose: str) -> None:
        await generated(generator, request(generator, most=1, whose=whose))
        done.append(whose)

    tasks = []
    for whose in ("a", "a", "a", "b"):
        tasks.append(asyncio.create_task(ask(whose)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    with pytest.raises(Busy):
        await ask("c")
    gate.set()
    await asyncio.gather(*tasks)
    assert done == ["a", "a", "b", "a"]


async def test_who_leaves_the_queue_gives_nobodys_turn_away() -> None:
    gate = asyncio.Event()
    generator = BackendGenerator(ScriptedBackend(pace=partial(passed, gate)), 1, 8)
    tasks = [
        asyncio.create_task(generated(generator, request(generator, most=1, whose=str(place))))
        for place in range(4)
    ]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for cancelled in (tasks[0], tasks[2]):
        cancelled.cancel()
    gate.set()
    await asyncio.wait(tasks)
    assert [task.cancelled() for task in tasks] == [True, False, True, False]
    assert len((await generated(generator, request(generator, most=2, ignore_end=True)))[0]) == 2


async def test_who_all_leave_at_once_give_no_turn_to_one_that_is_gone() -> None:
    turns = RequestTurns(1, 9)

    async def wait() -> None:
        async with turns.turn("a"):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(wait()) for _ in range(3)]
    await until(lambda: turns.waiting == 2)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert all(task.cancelled() for task in tasks)
    assert (turns.running, turns.waiting) == (0, 0)
    async with turns.turn("b"):
        assert turns.running == 1
