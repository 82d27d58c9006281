"""Servers that go away and come back: whatever asks them, the screen says what is so now.

Every activity that asks a model is found by itself: a new one has to be told here how it begins.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import pkgutil
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from textual.css.query import NoMatches
from textual.screen import Screen
from textual.widgets import OptionList

from llterm import session as sessions
from llterm.backends.remote.remote_backend import RemoteBackend
from llterm.backends.remote.server_connection import open_remote
from llterm.config import Config, ModelConfig
from llterm.config.server_settings import ServerSettings
from llterm.core.mixing.mix_recipe import Mode, Recipe
from llterm.core.mixing.opinion_pools import OpinionPool
from llterm.core.query import Backend
from llterm.core.weave_settings import WeaveSettings
from llterm.engine import ensemble
from llterm.engine.mixture import Mix
from llterm.session.label_reader import LabelReader
from llterm.ui.dialogs.info_dialogs import ServerDialog
from llterm.ui.dialogs.labels_dialog import LabelsDialog
from llterm.ui.dialogs.models_dialog import ModelsDialog
from llterm.ui.dialogs.sentences_dialog import SentencesDialog
from llterm.ui.mix.mix_screen import MixScreen
from tests.helpers.driven_app import Driven, Progress, Start, prompts
from tests.helpers.faulty_server import FaultyServer, loading, status
from tests.helpers.served_model import ServedModel, impatient, served

STORY = "Once the fox"
STALE = (
    "refused", "gave up", "asking again", "asks until", "No connection", "silent",
    "without", "not answer", "503", "401",
)  # fmt: skip
"""Words that are said only of a server that is away."""


@dataclass(frozen=True)
class Activity:
    """Something that asks the model in the background, as a person begins and ends it."""

    begin: Callable[[Driven], Awaitable[object]]
    asks: Callable[[Driven], bool]
    """Whether it goes on."""
    came: Callable[[Driven], object]
    """Whether the model answered."""
    end: Callable[[Driven], Awaitable[object]]


def keys(*names: str) -> Callable[[Driven], Awaitable[None]]:
    return lambda at: at.press(*names)


async def look_again(at: Driven) -> None:
    """Open the heat panel, or change the story that it shows."""
    if at.main.heat.display:
        await at.press("full_stop")
    else:
        await at.press("f4", "tab")


async def close_heat(at: Driven) -> None:
    while at.main.heat.display:
        await at.press("f4")


def sitting(at: Driven) -> SentencesDialog | None:
    return at.app.screen if isinstance(at.app.screen, SentencesDialog) else None


async def another_round(at: Driven) -> None:
    await at.press("alt+n" if sitting(at) is None else "r")
    await at.opened(SentencesDialog)


def reading(at: Driven) -> LabelReader | None:
    return at.app.screen.reading if isinstance(at.app.screen, LabelsDialog) else None


async def ask_labels(at: Driven) -> None:
    """Open the dialog and type labels, or ask again."""
    if reading(at) is None:
        await at.press("alt+g")
        await at.opened(LabelsDialog)
        await at.press(*"fox, slept")
    await at.press("ctrl+j")


ACTIVITIES: Mapping[str, Activity] = {
    "Cursor": Activity(
        keys("ctrl+j"),
        lambda at: at.session.weaving,
        lambda at: at.session.view and at.session.view.done,
        keys("ctrl+g"),
    ),
    "StoryReader": Activity(
        look_again,
        lambda at: at.session.reader.error is None,
        lambda at: at.session.reader.places and not at.session.reader.waiting,
        close_heat,
    ),
    "Player": Activity(
        keys("ctrl+backslash"),
        lambda at: at.session.player.playing,
        lambda at: at.session.player.drawn,
        keys("ctrl+g"),
    ),
    "SampleSet": Activity(
        keys("alt+s"),
        lambda at: at.session.samples.running,
        lambda at: at.session.view and any(row.sampled for row in at.session.view.branches),
        keys("ctrl+g"),
    ),
    "Autopilot": Activity(
        lambda at: _run(at, "weave.autopilot"),
        lambda at: at.session.autopilot.running,
        lambda at: at.story != STORY,
        keys("ctrl+g"),
    ),
    "Sentences": Activity(
        another_round,
        lambda at: bool(sitting(at) and sitting(at).sentences.running),  # type: ignore[union-attr]
        lambda at: sitting(at) and sitting(at).sentences.offers,  # type: ignore[union-attr]
        keys("escape"),
    ),
    "LabelReader": Activity(
        ask_labels,
        lambda at: bool((reader := reading(at)) and reader.running),
        lambda at: (reader := reading(at)) and reader.verdict,
        keys("escape"),
    ),
}
"""By the class that owns its background task."""


async def _run(at: Driven, id: str) -> None:
    at.main.action_run(id)


def test_every_activity_is_walked_here() -> None:
    owners = set()
    for module in pkgutil.iter_modules(sessions.__path__, "llterm.session."):
        for name, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            code = getattr(kind.__dict__.get("__init__"), "__code__", None)
            if code is not None and "BackgroundTask" in code.co_names:
                owners.add(name)
    assert owners == set(ACTIVITIES)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llterm.session.reader.PATIENCE", 0.0)


@pytest.fixture
async def server() -> AsyncIterator[FaultyServer]:
    async with served() as running:
        yield running


def said(at: Driven) -> str:
    """All that stands on the screens, without what was told for a moment in a notice."""
    screens: list[Screen[Any]] = [at.app.screen, at.main]
    lines = [str(one.render()) for screen in screens for one in screen.query("Static")
             if one.display and type(one).__name__ != "Toast"]  # fmt: skip
    if at.main.heat.display:
        lines.append(str(at.main.heat.render_line(0)))
    return "\n".join(lines)


def stale(at: Driven) -> list[str]:
    """What is still said, but for the server's address: its port may be any number."""
    words = re.sub(r"http://[\w.]+:\d+", "", said(at))
    return [word for word in STALE if word in words]


async def until_said(at: Driven, words: str) -> None:
    await at.until(lambda: words in said(at))


async def until_well(at: Driven) -> None:
    """Until the screen was told of everything, and nothing is said against a server."""
    for _ in range(2000):
        if at.told and not stale(at):
            return
        await at.pilot.pause(0.005)
    raise AssertionError(f"{stale(at)} in what is said:\n{said(at)}")


def at_address(start: Start, server: FaultyServer) -> Start:
    start.address, start.rules = server.url, WeaveSettings(depth=3, heal=False)
    return start


@pytest.mark.parametrize("name", ACTIVITIES)
async def test_while_it_waits_it_is_said_and_not_when_the_server_is_back(
    start: Start, server: FaultyServer, name: str
) -> None:
    activity = ACTIVITIES[name]
    async with at_address(start, server)(STORY, size=(120, 40)) as at:
        await server.stop()
        await activity.begin(at)
        await until_said(at, "Connection refused")
        assert activity.asks(at)
        if at.session.busy:
            assert "^G stops" in at.line("found")
        else:
            assert "^G stops" not in at.line("found")
        await server.start()
        await at.until(lambda: activity.came(at))
        await until_well(at)


@pytest.mark.parametrize("name", ACTIVITIES)
async def test_after_llterm_gave_up_that_is_said_until_the_server_is_asked_and_answers(
    start: Start, server: FaultyServer, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    activity = ACTIVITIES[name]
    async with at_address(start, server)(STORY, size=(120, 40)) as at:
        impatient(monkeypatch)
        await server.stop()
        await activity.begin(at)
        await at.until(lambda: not activity.asks(at))
        await until_said(at, "gave up: Connection refused")
        assert "^J again" in at.line("found")
        assert "stops" not in at.line("found")
        await server.start()
        await activity.begin(at)
        await at.until(lambda: activity.came(at))
        await until_well(at)


@pytest.mark.parametrize("asked_first", ACTIVITIES)
async def test_whoever_asks_next_clears_what_another_was_given_up_with(
    start: Start, server: FaultyServer, monkeypatch: pytest.MonkeyPatch, asked_first: str
) -> None:
    """The weave's error in the pane, the reader's in the heat panel, the sitting's in its line."""
    first = ACTIVITIES[asked_first]
    async with at_address(start, server)(STORY, size=(120, 40)) as at:
        impatient(monkeypatch)
        await server.stop()
        await first.begin(at)
        await at.until(lambda: not first.asks(at))
        await until_said(at, "Connection refused")
        await server.start()
        source = at.session.backend
        assert source is not None
        async for _ in source.score(await source.vocabulary.tokenize(b"Once the fox slept"), 1):
            pass
        await until_well(at)


@pytest.mark.parametrize("name", ACTIVITIES)
async def test_who_stops_while_it_waits_sees_nothing_of_it_any_more(
    start: Start, server: FaultyServer, name: str
) -> None:
    activity = ACTIVITIES[name]
    async with at_address(start, server)(STORY, size=(120, 40)) as at:
        await server.stop()
        await activity.begin(at)
        await until_said(at, "Connection refused")
        await activity.end(at)
        await until_well(at)
        assert not at.session.busy
        await server.start()
        await at.weave()
        await until_well(at)


async def test_one_that_refuses_at_the_start_is_told_and_opened_by_the_key(
    start: Start, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await server.stop()
    async with at_address(start, server)(STORY, ready=False) as at:
        await until_said(at, "Connection refused")
        await at.until(lambda: "Connection refused" in at.line("model"))
        await at.until(lambda: server.url in at.line("invitation"))
        await server.start()
        await at.until(lambda: at.session.source)
        await until_well(at)
    await server.stop()
    monkeypatch.setattr("llterm.backends.remote.pool.STRANGER", _no_patience())
    async with at_address(start, server)(STORY, ready=False) as at:
        await until_said(at, "No connection to")
        await at.until(lambda: "tries again" in at.line("invitation"))
        await server.start()
        await at.press("ctrl+j")
        await at.until(lambda: at.session.source)
        await until_well(at)
        await at.weave()
        await until_well(at)


def _no_patience() -> object:
    from llterm.backends.remote.server_faults import RetryPolicy

    return RetryPolicy(None, -1.0)


async def test_a_server_that_loads_its_model_is_told_with_its_own_words(
    start: Start, server: FaultyServer
) -> None:
    async with at_address(start, server)(STORY) as at:
        server.then(loading())
        await at.press("ctrl+j")
        await until_said(at, "503: Loading model")
        assert "^G stops" in at.line("found")
        server.then(ServedModel())
        await at.until(lambda: not at.session.weaving)
        await until_well(at)


async def test_a_wrong_key_is_told_until_it_is_taken(start: Start, server: FaultyServer) -> None:
    async with at_address(start, server)(STORY) as at:
        await at.weave()
        server.then(status(401, "Invalid API Key"))
        await at.press("end", "full_stop", "ctrl+j")
        await until_said(at, "refused: 401")
        assert "stops" not in at.line("found")
        server.then(ServedModel())
        await at.weave()
        await until_well(at)


async def test_the_news_of_a_model_that_is_no_longer_in_use_are_not_shown(
    start: Start, server: FaultyServer
) -> None:
    async with served() as other:
        start.config = Config(models={"other": ModelConfig(server=ServerSettings((other.url,)))})
        async with at_address(start, server)(STORY, size=(100, 40)) as at:
            await server.stop()
            await at.press("ctrl+j")
            await until_said(at, "Connection refused")
            before = at.session.news
            await at.press("alt+m")
            await at.opened(ModelsDialog)
            options = at.app.screen.query_one(OptionList)
            await at.until(lambda: options.option_count)
            options.highlighted = next(
                n for n, line in enumerate(prompts(options)) if " other " in line
            )
            await at.press("enter")
            await at.until(lambda: "other" in at.line("model"))
            await until_well(at)
            assert before is not None
            assert at.session.news is not before
            calls: list[None] = []
            at.session.listen(lambda: calls.append(None))
            before.stir()
            assert not calls
            await at.weave()
            await until_well(at)


async def test_of_several_addresses_each_is_told_in_the_dialog_of_the_server(
    start: Start, server: FaultyServer
) -> None:
    async with served() as second:
        settings = ServerSettings((server.url, second.url))
        start.config = Config(models={"near": ModelConfig(server=settings)})
        at_address(start, server).address = "near"
        async with start(STORY, size=(100, 40)) as at:
            await second.stop()
            server_model = at.session.source
            assert isinstance(server_model, RemoteBackend)
            body = {"content": "fox", "add_special": False}
            ask = server_model.transport.post
            await asyncio.gather(*[ask("/tokenize", body) for _ in range(8)])
            assert not stale(at)
            await at.press("alt+r")
            screen = await at.opened(ServerDialog)
            line = screen.query_one("#absences")
            assert f"{second.url}: no answer since" in str(line.render())
            assert "the others answer" in str(line.render())
            server_model.news.tell([])
            await at.until(lambda: not line.display)


# --- mixes


@asynccontextmanager
async def mixed(
    start: Start, *servers: FaultyServer, mode: Mode = "democratic", reference: int = 0
) -> AsyncIterator[Driven]:
    async def opening(progress: Progress) -> Backend:
        backends = [
            await open_remote(name, ServerSettings((server.url,)))
            for name, server in zip("ab", servers, strict=True)
        ]
        recipe = Recipe(mode, OpinionPool((1.0,) * len(servers)), reference=reference)
        return Mix(backends, recipe, forgiving=True)

    start.opening, start.rules = opening, WeaveSettings(depth=2, heal=False)
    async with start(STORY, size=(120, 40)) as at:
        yield at


async def side_by_side(at: Driven) -> MixScreen:
    await at.press("alt+x")
    screen = await at.opened(MixScreen)
    # The story's first token has nothing before it here: its place is never read.
    await at.until(lambda: screen.mixing.looked and screen.mixing.waiting <= 1)
    return screen


def notes(at: Driven) -> str:
    try:
        return " ".join(str(at.app.screen.query_one("#notes").render()).split())
    except NoMatches:
        return ""


async def test_a_member_that_is_left_out_is_a_row_and_returns(
    start: Start, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ensemble, "AGAIN", 0.01)
    async with served() as second, mixed(start, server, second) as at:
        screen = await side_by_side(at)
        await second.stop()
        count = len(screen.mixing.pieces)
        await at.press("full_stop")
        await at.until(lambda: len(screen.mixing.pieces) > count)
        await at.until(lambda: "B b silent since" in notes(at))
        assert "the mix goes on without it and asks again" in notes(at)
        assert f"{second.url}: Connection refused" in notes(at)
        await at.press("escape")
        await at.until(lambda: "without b: Connection refused" in said(at) or not at.session.view)
        assert "stops" not in at.line("found")
        await second.start()
        await at.until(lambda: not screen.mixing.mix.company.lost)  # type: ignore[union-attr]
        await until_well(at)
        await side_by_side(at)
        await until_well(at)


async def test_while_a_member_is_away_the_row_says_what_is_so_now(
    start: Start, server: FaultyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ensemble, "AGAIN", 0.01)
    async with served() as second, mixed(start, server, second) as at:
        await side_by_side(at)
        await second.stop()
        await at.press("full_stop")
        await at.until(lambda: "Connection refused" in notes(at))
        second.then(loading())
        await second.start()
        await at.until(lambda: "503: Loading model" in notes(at))
        assert "Connection refused" not in notes(at)
        second.then(ServedModel())
        await until_well(at)


async def test_a_weave_of_a_mix_names_who_it_waits_for(start: Start, server: FaultyServer) -> None:
    async with served() as second, mixed(start, server, second) as at:
        await second.stop()
        await at.press("ctrl+j")
        await at.until(lambda: at.line("found").startswith("b: Connection refused"))
        assert "^G stops" in at.line("found")
        await second.start()
        await at.until(lambda: not at.session.weaving)
        await until_well(at)


async def test_several_servers_away_at_once_are_all_named(
    start: Start, server: FaultyServer
) -> None:
    async with served() as second, mixed(start, server, second) as at:
        # Looking at the story has it tokenized: the weave asks both at once then.
        await side_by_side(at)
        await at.press("escape")
        await server.stop()
        await second.stop()
        await at.press("ctrl+j")
        await until_said(at, "no answer from a, b")
        await server.start()
        await at.until(lambda: at.line("found").startswith("b: Connection refused"))
        await second.start()
        await at.until(lambda: not at.session.weaving)
        await until_well(at)


async def test_a_reference_that_is_away_is_waited_for_in_a_row(
    start: Start, server: FaultyServer
) -> None:
    async with (
        served() as second,
        mixed(start, server, second, mode="reference", reference=1) as at,
    ):
        screen = await side_by_side(at)
        await second.stop()
        count = len(screen.mixing.pieces)
        await at.press("end", "full_stop")
        await at.until(lambda: "the mix waits" in notes(at))
        assert "B b silent since" in notes(at)
        assert f"{second.url}: Connection refused" in notes(at)
        await second.start()
        await at.until(lambda: len(screen.mixing.pieces) > count)
        await until_well(at)
