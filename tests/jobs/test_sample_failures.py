"""`llterm sample` where the server fails: what is printed, what is said, and the exit code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llterm.backends.remote.transport import RequestRefused
from tests.helpers.program import Ran, run
from tests.helpers.wide_servers import WIDE, LearnedServer, SpokenServer

SLEPT = WIDE.index(b" slept")


class Refusing(LearnedServer):
    """Refuses to go on from some texts."""

    def __init__(self, *last: int) -> None:
        """`last`: tokens after which it refuses; none: after all, once it draws."""
        super().__init__()
        self._last = last

    def answer(self, path: str, body: Mapping[str, Any]) -> Any:
        prompts = self.prompts_of(body["prompt"]) if path == "/v1/completions" else ()
        drawing = [ids for ids in prompts if len(ids) > 1]
        if any(not self._last or ids[-1] in self._last for ids in drawing):
            raise RequestRefused(400, None, "the model is tired", "The server refused")
        return super().answer(path, body)


async def sampled(model: LearnedServer, folder: Path, *more: str, text: str = "Once the") -> Ran:
    spoken = SpokenServer(model)
    async with spoken:
        asked = ("sample", "-m", spoken.url, "--prompt", text, *more)
        return await asyncio.to_thread(run, folder, *asked)


@pytest.mark.parametrize("count", ["1", "3"])
async def test_where_nothing_can_be_drawn_the_error_is_told_and_nothing_is_printed(
    tmp_path: Path, count: str
) -> None:
    ran = await sampled(Refusing(), tmp_path, "-n", count)
    assert ran.code == 1
    assert ran.out == ""
    assert "the model is tired" in ran.err
    assert "…" not in ran.out


async def test_json_says_which_failed_too(tmp_path: Path) -> None:
    ran = await sampled(Refusing(), tmp_path, "--format", "json")
    assert ran.code == 1
    (line,) = json.loads(ran.out)["continuations"]
    assert (line["finish"], line["tokens"]) == ("failed", [])


async def test_where_some_fail_it_says_which_and_prints_the_others(tmp_path: Path) -> None:
    flags = ("-n", "60", "--stop", "ose", "--seed", "1", "--preset", "neutral")
    ran = await sampled(Refusing(SLEPT), tmp_path, *flags, text="Once the fox")
    lines = ran.out.splitlines()
    assert len(lines) == 60
    cut = [number for number, line in enumerate(lines, 1) if line.endswith("…")]
    assert 0 < len(cut) < 60
    assert ran.code == 1
    assert f"{len(cut)} of 60 continuations failed" in ran.err
    assert ", ".join(map(str, cut)) in ran.err


async def test_an_end_that_is_not_healed_is_said_once(tmp_path: Path) -> None:
    ran = await sampled(LearnedServer(), tmp_path, "-n", "3", text="Once the ")
    assert ran.code == 0
    assert ran.err.count("no healing") == 1
