"""Against llama-cpp-python's server: another implementation, which speaks text alone."""

from __future__ import annotations

import math

import pytest

from benchmarks.weaving import begin, run
from llterm.backends.llamacpp import LlamaSettings, open_llama
from llterm.backends.remote.server_connection import open_remote
from llterm.config.server_settings import ServerSettings
from llterm.core.chat_messages import Chat
from llterm.core.weave_settings import WeaveSettings
from llterm.session.document import Document
from llterm.session.session import Session
from tests.helpers.bundled_model import BUNDLED

pytestmark = pytest.mark.server

RULES = WeaveSettings(depth=6, beams=5, heal=False)
PROMPT = "Once upon a time there was a little"


async def test_it_weaves_and_scores_as_in_process(address: str) -> None:
    remote = await open_remote("fable", ServerSettings((address,)))
    local = await open_llama(BUNDLED, LlamaSettings(threads=1))
    try:
        mine, theirs = begin(remote, PROMPT, RULES), begin(local, PROMPT, RULES)
        await run(mine, remote)
        await run(theirs, local)
        for own, other in zip(mine.view().suggestions, theirs.view().suggestions, strict=True):
            assert own.data == other.data
            assert math.isclose(own.logprob, other.logprob, abs_tol=0.02)
        text = "The little fox said: é ☃!".encode()
        ids = await remote.vocabulary.tokenize(text)
        served = [score.logprob async for score in remote.score(ids, 1, 3)]
        alike = local.vocabulary.prefix + local.vocabulary.encode(text)
        known = [score.logprob async for score in local.score(alike, 2, 3)]
        assert served == pytest.approx(known, abs=0.02)
    finally:
        await remote.close()
        await local.close()


async def test_a_chat_is_opened_in_the_format_that_the_person_names(address: str) -> None:
    """It tells no template; this model never saw one, and reads it as text."""
    settings = ServerSettings((address,), chat_template="chatml")
    remote = await open_remote("fable", settings)
    local = await open_llama(BUNDLED, LlamaSettings(threads=1, chat_template="chatml"))
    try:
        session = Session(Document.scratch(b"", RULES))
        woven = []
        for backend in (remote, local):
            session.attach(backend)
            session.set_chat(Chat("Be brief.", "Tell of a fox."))
            session.weave()
            await session.wait()
            assert session.view is not None
            woven.append([one.data for one in session.view.suggestions[:3]])
        assert woven[0] == woven[1]
        session.stop()
    finally:
        await remote.close()
        await local.close()
