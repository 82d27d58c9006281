"""Real models call tools that have to be called, in every one of 200 random schemas."""

from __future__ import annotations

import logging
from pathlib import Path

import httpx2
import pytest

from llterm.backends.llamacpp import LlamaSettings, open_llama
from tests.helpers.served_api import served
from tests.helpers.tool_rounds import tool_rounds

pytestmark = pytest.mark.models
log = logging.getLogger(__name__)


async def test_calls_that_have_to_be_made_fit_random_schemas(model: Path) -> None:
    format = "gemma" if "gemma" in model.stem else None
    opened = await open_llama(model, LlamaSettings(context=4096, chat_template=format), name="real")
    async with served(opened) as api:
        api.client.timeout = httpx2.Timeout(600)
        told = await tool_rounds(api, "real", range(200), max_tokens=200)
    await opened.close()
    log.warning("%s calls, %s cut by their length", told.called, told.cut)
    assert told.faults == []
    assert told.called > told.cut
