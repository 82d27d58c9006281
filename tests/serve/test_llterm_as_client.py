"""Another llterm weaves on `llterm serve` as if the model were in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.config import Config, ModelConfig
from llterm.config.server_settings import ServerSettings
from llterm.constraints.spec import regex
from llterm.core.tokens import text_bytes
from llterm.core.weave_settings import WeaveSettings
from llterm.jobs.request import Request
from llterm.jobs.suggest import SuggestResult, suggest
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.served_api import served

STORY = b"The forest seemed darker than usual, but"
OPENING = 5
"""Requests: the models, those of which all is told, the vocabulary, and the story's tokens in two
parts."""
BEGUN = b"The forest seemed darker than usu"
NEAR = 1e-5
"""In ln p: rows that come in other batches may be summed in another order."""


def suggested(result: SuggestResult) -> dict[bytes, float]:
    """Joint natural logprob by text."""
    return {
        text_bytes(result.vocabulary, each.tail): each.logprob for each in result.view.suggestions
    }


@pytest.fixture
async def address() -> AsyncIterator[str]:
    bundled = await open_llama(BUNDLED, LlamaSettings(threads=1), name="fable")
    try:
        async with served(bundled) as api:
            yield api.address
    finally:
        await bundled.close()


@pytest.mark.parametrize(
    ("text", "more"),
    [
        (STORY, {}),
        (BEGUN, {}),
        (STORY, {"constraint": regex(" [a-z]+ [a-z]+")}),
    ],
    ids=["story", "begun word", "constraint"],
)
async def test_the_same_suggestions_as_in_process_in_a_request_a_round(
    address: str, text: bytes, more: dict[str, Any]
) -> None:
    alone = await suggest(Request(Config(), ("fable",), text, **more))
    over = await suggest(Request(Config(), (address,), text, **more))
    assert suggested(over) == pytest.approx(suggested(alone), abs=NEAR)
    assert len(over.view.suggestions) > 1
    (counted,) = over.counted
    assert counted.spent.requests <= OPENING + WeaveSettings().depth


async def test_a_recording_gives_the_same_suggestions_without_the_server(
    address: str, tmp_path: Path
) -> None:
    cassette = tmp_path / "a.cassette"
    told: list[Mapping[bytes, float]] = []
    server = ServerSettings((address,))
    for how in (replace(server, record=cassette), replace(server, replay=cassette)):
        config = Config(models={"far": ModelConfig(server=how)})
        told.append(suggested(await suggest(Request(config, ("far",), STORY))))
    assert told[0]
    assert told[0] == told[1]
