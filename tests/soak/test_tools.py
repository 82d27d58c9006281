"""A tool that has to be called is, in every one of many random schemas."""

from __future__ import annotations

import logging

import pytest

from llterm.backends.llamacpp import LlamaSettings, open_llama
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.served_api import served
from tests.helpers.soak_rounds import rounds
from tests.helpers.tool_rounds import tool_rounds

pytestmark = pytest.mark.soak
log = logging.getLogger(__name__)


async def test_calls_that_have_to_be_made_fit_random_schemas() -> None:
    settings = LlamaSettings(threads=1, context=2048, chat_template="chatml")
    model = await open_llama(BUNDLED, settings, name="fable")
    async with served(model) as api:
        told = await tool_rounds(api, "fable", range(rounds(50)), max_tokens=400)
    await model.close()
    log.warning("%s calls, %s cut by their length", told.called, told.cut)
    assert told.faults == []
    assert told.called > told.cut
