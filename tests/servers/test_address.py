"""Against whatever server is running at `LLTERM_TEST_ADDRESS`: `make test-address ADDRESS=…`.

Its model is not known here, so it is held against itself: what it says must not depend on how it is
asked. Figures may differ by what batching makes of rounding.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from benchmarks.weaving import begin, run
from llterm.backends.remote.remote_backend import RemoteBackend
from llterm.backends.remote.server_connection import open_remote
from llterm.config.server_settings import ServerSettings
from llterm.core.tokens import Tail
from llterm.core.weave_settings import WeaveSettings

pytestmark = pytest.mark.server

RULES = WeaveSettings(depth=6, beams=5, heal=False)
PROMPT = "Once upon a time there was a little"
ROUNDING = 0.05


@pytest.fixture
async def remote() -> AsyncIterator[RemoteBackend]:
    backend = await open_remote("the server", ServerSettings((os.environ["LLTERM_TEST_ADDRESS"],)))
    yield backend
    await backend.close()


async def suggested(remote: RemoteBackend) -> dict[Tail, float]:
    await remote.vocabulary.tokenize(PROMPT.encode())
    weave = begin(remote, PROMPT, RULES)
    await run(weave, remote)
    assert weave.done
    return {one.tail: one.logprob for one in weave.view().suggestions}


async def test_suggestions_do_not_depend_on_how_they_are_asked_for(remote: RemoteBackend) -> None:
    in_lines = await suggested(remote)
    remote.policy = replace(remote.policy, ahead=0, width=1)
    one_by_one = await suggested(remote)
    assert len(in_lines) == len(one_by_one) == RULES.beams
    last = min([*in_lines.values(), *one_by_one.values()])
    for tail in in_lines.keys() | one_by_one.keys():
        mine, theirs = in_lines.get(tail, last), one_by_one.get(tail, last)
        assert math.isclose(mine, theirs, abs_tol=ROUNDING), tail


async def test_a_given_text_scores_as_it_was_suggested(remote: RemoteBackend) -> None:
    """For servers that score given text; doctor says which."""
    assert remote.capabilities.score, dict(remote.explained)
    vocabulary = remote.vocabulary
    story = vocabulary.prefix + await vocabulary.tokenize(PROMPT.encode())
    best = await suggested(remote)
    tail = max(best, key=lambda one: best[one])
    found = [one.logprob async for one in remote.score(story + tail, len(story), 3)]
    assert math.fsum(found) == pytest.approx(best[tail], abs=len(tail) * ROUNDING)
