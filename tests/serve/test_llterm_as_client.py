"""Another llterm weaves on `llterm serve`, which it takes for a server in llama.cpp's words."""

from __future__ import annotations

import pytest

from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.config import Config
from llterm.core.tokens import text_bytes
from llterm.jobs.request import Request
from llterm.jobs.suggest import SuggestResult, suggest
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.served_api import served

STORY = b"The forest seemed darker than usual, but"
RULES = {"heal": False}
"""A server heals a begun word by other paths: not compared here."""


def suggested(result: SuggestResult) -> dict[bytes, float]:
    """Joint natural logprob by text."""
    return {
        text_bytes(result.vocabulary, each.tail): each.logprob for each in result.view.suggestions
    }


async def test_the_same_suggestions_as_in_process() -> None:
    alone = await suggest(Request(Config(), ("fable",), STORY, rules=RULES))
    bundled = await open_llama(BUNDLED, LlamaSettings(threads=1), name="fable")
    try:
        async with served(bundled) as api:
            over = await suggest(Request(Config(), (api.address,), STORY, rules=RULES))
    finally:
        await bundled.close()
    assert suggested(over) == pytest.approx(suggested(alone), abs=0.02)
    (counted,) = over.counted
    assert counted.spent.requests <= 2 * len(over.view.suggestions)
