"""What writes in the app, with every way in which a server tells its vocabulary.

All of it works where the server can heal nothing, and sends no id that the server did not name.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

import pytest

from llterm.backends.remote.server_connection import open_remote
from llterm.config.server_settings import ServerSettings
from llterm.core.bans import Bans
from llterm.core.weave_settings import WeaveSettings
from llterm.session.document import Document
from llterm.session.sentences import Sentences
from llterm.session.session import Session
from tests.helpers.polling import until
from tests.helpers.sessions import GREEDY, draw_by
from tests.helpers.wide_servers import KINDS, SpokenServer

TEXTS = {"word": b"Once the fox", "blank": b"Once the ", "half a word": b"Once the fo"}
TRIED = {0, 1}
"""Ids by which llterm tries what a server can do."""


@dataclass(frozen=True)
class Desk:
    """A session on a server."""

    session: Session
    server: SpokenServer


@pytest.fixture(params=KINDS)
async def desk(request: pytest.FixtureRequest) -> AsyncIterator[Desk]:
    served = SpokenServer(KINDS[request.param]())
    async with served:
        source = await open_remote("tiny", ServerSettings((served.url,)), fresh=True)
        session = Session(Document.scratch(b"", WeaveSettings(depth=3, beams=4)))
        session.attach(source)
        draw_by(session, GREEDY)
        yield Desk(session, served)
        await session.close()
        await source.close()


async def woven(session: Session) -> None:
    session.weave()
    await session.wait()
    assert session.view is not None
    assert session.view.suggestions
    session.accept(session.view.suggestions[0].tail)


async def sampled(session: Session) -> None:
    session.samples.start(3, 4, sentence=False)
    await session.samples.task.wait()
    assert session.view is not None
    row = next(row for row in session.view.branches if row.sampled)
    session.accept(row.tail)


async def stepped(session: Session) -> None:
    session.player.step()
    await session.player.task.wait()


async def played(session: Session) -> None:
    session.player.speed = math.inf
    session.player.play()
    await until(lambda: session.player.drawn >= 3)
    session.player.pause()


async def flown(session: Session) -> None:
    session.autopilot.start(2)
    await session.autopilot.task.wait()


async def beamed(session: Session) -> None:
    sitting = Sentences(session, lambda: None)
    sitting.start(2, 6)
    await sitting.task.wait()
    assert sitting.error is None
    sitting.pick(sitting.offers[0])


WRITERS: Mapping[str, Callable[[Session], Awaitable[None]]] = {
    "weave": woven,
    "samples": sampled,
    "step": stepped,
    "play": played,
    "autopilot": flown,
    "sentences": beamed,
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_it_writes_on(desk: Desk, writer: str, text: bytes) -> None:
    session = desk.session
    session.edit(0, 0, text.decode())
    failures: list[object] = []
    for part in (session.player, session.autopilot, session.samples):
        part.ended = failures.append
    await WRITERS[writer](session)
    assert not failures
    story = session.document.bytes_before(len(session.document.text))
    assert story.startswith(text)
    assert len(story) > len(text)
    assert desk.server.strange <= TRIED
    assert not desk.server.refused


async def test_bans_hold_for_tokens_that_are_told_only_when_they_are_drawn(desk: Desk) -> None:
    session = desk.session
    session.edit(0, 0, "Once the moon.")
    free = GREEDY
    draw_by(session, free)
    session.set_sampling(replace(session.sampling, bans=Bans(phrases=("there", "fox"))))
    session.samples.start(4, 12, sentence=False)
    await session.samples.task.wait()
    assert session.view is not None
    rows = [row.data for row in session.view.branches if row.sampled]
    assert rows
    assert not [data for data in rows if b"there" in data or b"fox" in data]


async def test_while_the_server_is_asked_nothing_is_shown_and_nothing_is_begun_twice(
    desk: Desk,
) -> None:
    session = desk.session
    session.edit(0, 0, "Once the fox.")
    session.weave()
    known = session.shown is not None
    session.weave()
    assert session.weaving
    assert known or session.view is None
    await session.wait()
    asked = [one for one in desk.server.requests if one.path == "/tokenize"]
    assert len([one for one in asked if b"Once the fox." in one.body]) <= 1
    assert session.shown is not None
    assert not session.stale


async def test_a_weave_that_is_stopped_while_the_server_is_asked_is_over(desk: Desk) -> None:
    session = desk.session
    session.edit(0, 0, "Once the fox.")
    session.weave()
    session.stop()
    assert not session.weaving
    assert session.status.state == "ready"
    session.weave()
    await session.wait()
    assert session.view is not None
    assert session.view.suggestions


async def test_a_weave_of_a_story_that_went_on_meanwhile_is_stale(desk: Desk) -> None:
    session = desk.session
    session.edit(0, 0, "Once the fox.")
    session.weave()
    session.edit(13, 13, " And")
    await session.wait()
    assert session.shown is not None
    assert session.stale
