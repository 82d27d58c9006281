"""A mix of a model in process and one on a real server, which dies and comes back."""

from __future__ import annotations

import asyncio

import pytest

from llterm.backends.registry import open_model
from llterm.backends.remote.server_connection import open_remote
from llterm.config import Config
from llterm.config.server_settings import ServerSettings
from llterm.core.mixing.mix_recipe import Recipe
from llterm.core.mixing.opinion_pools import OpinionPool
from llterm.core.sampling.sampler_settings import PRESETS
from llterm.core.weave_settings import WeaveSettings
from llterm.engine.mixture import Mix
from llterm.session.document import Document
from llterm.session.mix_reader import MixReader
from llterm.session.session import Session
from tests.helpers.mix_models import stepped
from tests.helpers.polling import until
from tests.helpers.server_process import Process

pytestmark = pytest.mark.server


async def test_the_server_dies_in_mid_mix_and_comes_back(process: Process) -> None:
    local = await open_model("fable", Config())
    remote = await open_remote("near", ServerSettings((process.address,)))
    mix = Mix([local, remote], Recipe("round-robin", OpinionPool((1.0, 1.0))), forgiving=True)
    session = Session(Document.scratch(b"The king had three", WeaveSettings(heal=False)))
    session.set_sampling(session.sampling.under("greedy", PRESETS))
    session.attach(mix)
    mixing = MixReader(session)
    mixing.start()
    try:
        await until(lambda: mixing.looked and not mixing.waiting)
        count = len(mixing.pieces)
        await stepped(mixing, 4)
        assert {piece.by for piece in mixing.pieces[count:]} == {0, 1}
        process.kill()
        count = len(mixing.pieces)
        await stepped(mixing, 4)
        assert {piece.by for piece in mixing.pieces[count:]} == {0}
        assert list(mix.company.lost) == [1]
        assert mix.company.lost[1].error.cause.endswith("Connection refused.")
        await asyncio.to_thread(process.start)
        await until(lambda: not mix.company.lost and not mixing.waiting, seconds=60.0)
        count = len(mixing.pieces)
        await stepped(mixing, 4)
        assert {piece.by for piece in mixing.pieces[count:]} == {0, 1}
        assert all(place is not None and all(place.sides) for place in mixing.places)
    finally:
        mixing.stop()
        await session.close()
        await mix.close()
