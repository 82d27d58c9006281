"""Requests that come while others are under way: who is answered first."""

from __future__ import annotations

import asyncio

import pytest

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.backends.registry import MODELS
from tests.helpers.polling import until
from tests.helpers.served_api import served

PATH = "/v1/completions"
READ = {"max_tokens": 0, "echo": True, "logprobs": 1}


async def test_a_short_prompt_is_read_while_long_ones_are_and_each_as_if_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("llterm.backends.llamacpp.context_turns.TURN", 1e-9)
    backend = await open_llama(MODELS / "fable-q8_0.gguf", LlamaSettings(threads=1, batch=64))
    long, other = ([7 + n % 300 for n in range(first, first + 1200)] for first in (0, 90))
    try:
        async with served(backend) as api:
            alone = [await api.ask(PATH, prompt=ids, **READ) for ids in (long, other)]
            answered: list[str] = []

            async def read(name: str, prompt: object) -> object:
                answer = await api.ask(PATH, prompt=prompt, **READ)
                answered.append(name)
                return answer["choices"]

            before = backend.spent.decodes
            waiting = [asyncio.create_task(read("long", ids)) for ids in (long, other)]
            await until(lambda: backend.spent.decodes > before + 1)
            await read("short", "Once upon a time")
            choices = await asyncio.gather(*waiting)
    finally:
        await backend.close()
    assert answered == ["short", "long", "long"]
    assert choices == [answer["choices"] for answer in alone]
