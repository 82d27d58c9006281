"""The bundled model in a process of its own, as `llterm serve` has it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from llterm.backends.registry import find_model
from llterm.config import Config
from llterm.serve.model_frames import OpenModel
from llterm.serve.model_process import ModelProcess, open_process, opening_of
from llterm.serve.serve_limits import ServeLimits
from tests.helpers.polling import until
from tests.helpers.served_api import served

PATH = "/v1/completions"
LIMITS = ServeLimits(parallel=4, slot_context=512, cache_memory=64 << 20, drain_seconds=0)


def opening(
    file: Path | None = None, limits: ServeLimits = LIMITS, draft: str | None = None
) -> OpenModel:
    """Of the bundled model, or of a file; with what writes ahead."""
    known = find_model("fable" if file is None else str(file), Config())
    return opening_of(known, Config(), {"threads": 1, "draft": draft}, limits, 1)


@asynccontextmanager
async def model_process(
    limits: ServeLimits = LIMITS, draft: str | None = None
) -> AsyncIterator[ModelProcess]:
    """It, loaded."""
    model = await open_process(opening(limits=limits, draft=draft))
    try:
        yield model
    finally:
        await model.close()


async def kill_at_any_moment(kills: int, requests: int, seed: int = 5) -> None:
    """Each of several requests is answered with its own text or an error, and with its own text
    when the model is there again."""
    chance = random.Random(seed)
    async with model_process() as model, served(model) as api:
        bodies = [{"prompt": f"{n}. The", "max_tokens": 60, "seed": n} for n in range(requests)]

        async def text(body: Mapping[str, Any]) -> str:
            return str((await api.ask(PATH, **body))["choices"][0]["text"])

        alone = [await text(body) for body in bodies]
        for _ in range(kills):
            asked = [asyncio.create_task(api.client.post(PATH, json=body)) for body in bodies]
            await until(lambda: model.running > 0)
            for _ in range(chance.randrange(200)):
                await asyncio.sleep(0)
            os.kill(model.pid, signal.SIGKILL)
            for answer, expected in zip(await asyncio.gather(*asked), alone, strict=True):
                if answer.status_code == 200:
                    assert answer.json()["choices"][0]["text"] == expected
                else:
                    assert answer.status_code == 503, answer.text
            assert await text(bodies[0]) == alone[0]
        assert await asyncio.gather(*map(text, bodies)) == alone
