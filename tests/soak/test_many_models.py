"""Two models and an encoder of the real `llterm serve`, loaded, let go and killed while all of them
are asked: nothing of that reaches another model's streams."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
from collections.abc import Awaitable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest

from tests.helpers.bundled_model import BUNDLED
from tests.helpers.program import FAULTS
from tests.helpers.served_program import ServedProgram, serving
from tests.helpers.soak_rounds import explores, rounds
from tests.helpers.tiny_models import tiny_encoder

pytestmark = pytest.mark.soak
log = logging.getLogger(__name__)

Result = TypeVar("Result")
ADMIN = {"X-Api-Key": "operator"}
STEADY, OTHER, ENCODER = "steady", "other", "words"
ROUNDS = rounds(2)
STREAMS = 4
"""Of the model that nothing happens to, at any time."""
TEXTS = ["the cat sat on a mat", "a mat.", "cats"]
CONFIG = f"""
[models.{STEADY}]
path = "{BUNDLED}"
threads = 1

[models.{OTHER}]
path = "{BUNDLED}"
threads = 1
"""


def story(model: str, seed: int) -> Mapping[str, Any]:
    prompt = f"{seed}. The old maker of lamps"
    return {"model": model, "prompt": prompt, "max_tokens": 80, "seed": seed, "ignore_eos": True}


class Company:
    """Clients of one server, and its operator."""

    def __init__(
        self, program: ServedProgram, client: httpx2.AsyncClient, chance: random.Random
    ) -> None:
        self.program = program
        self.client = client
        self.chance = chance
        self.steady = 0
        """Parts of streams of the model that nothing happens to."""
        self.whole = 0
        """Its streams that have ended."""

    async def streamed(self, model: str, seed: int) -> str:
        """The text of a stream that ends as one; what ends it early is raised as an error."""
        text, ended = "", False
        asked = {**story(model, seed), "stream": True}
        async with self.client.stream("POST", "/v1/completions", json=asked) as answer:
            if answer.status_code != 200:
                raise Broken(answer.status_code, (await answer.aread()).decode())
            async for line in answer.aiter_lines():
                if not line.startswith("data: "):
                    assert not line, line
                elif line == "data: [DONE]":
                    ended = True
                elif fault := (part := json.loads(line.removeprefix("data: "))).get("error"):
                    raise Broken(200, fault["message"])
                else:
                    text += part["choices"][0]["text"]
                    self.steady += model == STEADY
        assert ended
        return text

    async def keep_asking(self, number: int, alone: Mapping[int, str]) -> None:
        """Stream after stream of the model that nothing happens to, each as it was alone."""
        seeds = sorted(alone)
        while True:
            seed = seeds[number % len(seeds)]
            assert await self.streamed(STEADY, seed) == alone[seed]
            self.whole += 1
            number += STREAMS

    async def embedded(self) -> Any:
        """Vectors; None where the process that makes them was lost."""
        asked = {"model": ENCODER, "input": TEXTS, "encoding_format": "float"}
        answer = await self.client.post("/v1/embeddings", json=asked)
        if answer.status_code == 503:
            assert "ask again" in answer.json()["error"]["message"].lower(), answer.text
            return None
        assert answer.status_code == 200, answer.text
        return [each["embedding"] for each in answer.json()["data"]]

    async def order(self, path: str, body: Mapping[str, Any]) -> None:
        answer = await self.client.post(f"/v1/llterm/admin/{path}", json=body, headers=ADMIN)
        assert answer.status_code == 200, answer.text

    async def loaded(self, name: str) -> None:
        """Wait until an ordered load has come to its end."""
        while True:
            answer = await self.client.get("/v1/llterm/admin/models", headers=ADMIN)
            (model,) = [each for each in answer.json()["data"] if each["model"] == name]
            assert model["state"] in ("queued", "loading", "loaded"), model
            if model["state"] == "loaded":
                return

    async def process_of(self, name: str, others: Collection[int]) -> int:
        """Have a model loaded. Returns the number of the process that came for it."""
        await self.order("load", {"models": [{"model": name}]})
        await self.loaded(name)
        (pid,) = {*self.program.children} - {*others}
        return pid

    async def while_steady(self, work: Awaitable[Result]) -> Result:
        """What this comes to, which takes many of the other streams' parts: they come meanwhile."""
        begun = self.steady
        told = await work
        assert self.steady > begun
        return told


class Broken(Exception):
    """A stream that its model's process took with it: status and message."""


async def disturb(company: Company, expected: Mapping[int, str], vectors: Any) -> None:
    """One round: the other model and the encoder come, are asked, killed and let go."""
    chance, program = company.chance, company.program
    (steady,) = program.children
    pid = await company.while_steady(company.process_of(OTHER, {steady}))
    assert await company.while_steady(company.embedded()) == vectors
    (encoder,) = {*program.children} - {steady, pid}
    streams = [asyncio.create_task(company.streamed(OTHER, seed)) for seed in expected]
    asked = [asyncio.create_task(company.embedded()) for _ in range(4)]
    for _ in range(chance.randrange(400)):
        await asyncio.sleep(0)
    victims = chance.sample([pid, encoder], chance.randint(1, 2))
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    for seed, end in zip(
        expected, await asyncio.gather(*streams, return_exceptions=True), strict=True
    ):
        if isinstance(end, Broken):
            assert pid in victims, end
            assert "ended" in end.args[1], end
        else:
            assert end == expected[seed], end
    for told in await asyncio.gather(*asked):
        assert told == vectors or (told is None and encoder in victims)
    # Both are there again by themselves, and who asks meanwhile waits for them.
    assert await company.while_steady(company.streamed(OTHER, 0)) == expected[0]
    assert await company.embedded() == vectors
    last = [asyncio.create_task(company.streamed(OTHER, seed)) for seed in expected]
    await company.while_steady(
        asyncio.gather(*(company.order("unload", {"model": name}) for name in (OTHER, ENCODER)))
    )
    assert await asyncio.gather(*last) == [*expected.values()], "let go before their end"
    # A stream that came too late had it loaded anew.
    await company.order("unload", {"model": OTHER})
    assert program.children == [steady]


async def test_streams_of_one_model_know_nothing_of_what_befalls_the_others(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/llterm.toml").write_text(CONFIG)
    folder = tmp_path / "models"
    folder.mkdir()
    tiny_encoder(folder / f"{ENCODER}.gguf")
    arguments = ("-m", STEADY, "--configured", "--model-folder", str(folder), "--slot-context",
                 "512", "--parallel", "8", "--admin-key-env", "ADMIN")  # fmt: skip
    seed = random.randrange(1 << 30) if explores() else 3
    log.info("seed %d", seed)
    bounds = httpx2.Limits(max_connections=64)
    with serving(tmp_path, *arguments, ADMIN="operator") as program:
        async with httpx2.AsyncClient(
            base_url=program.address, timeout=120, limits=bounds
        ) as client:
            company = Company(program, client, random.Random(seed))
            alone = {n: await company.streamed(STEADY, n) for n in range(2 * STREAMS)}
            expected = {n: alone[n] for n in range(3)}
            vectors = await company.embedded()
            await company.order("unload", {"model": ENCODER})
            asking = [
                asyncio.create_task(company.keep_asking(number, alone)) for number in range(STREAMS)
            ]
            try:
                for _ in range(ROUNDS):
                    await disturb(company, expected, vectors)
                    for task in asking:
                        assert not task.done(), task.exception()
            finally:
                for task in asking:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
        log.info("%d streams, %d parts", company.whole, company.steady)
        assert company.whole >= ROUNDS * STREAMS
        code, said = program.end(signal.SIGTERM)
    assert code == 0
    assert not [fault for fault in FAULTS if fault in said], said
