"""An app to drive: real session, real loom file, scripted model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from textual.dom import DOMNode
from textual.notifications import Notification
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import OptionList

from llterm.backends.registry import open_model
from llterm.backends.scripted import ScriptedBackend
from llterm.config import Config
from llterm.constraints.spec import Constraint
from llterm.core.query import Backend
from llterm.core.server_news import HearNews
from llterm.core.weave_settings import WeaveSettings
from llterm.session.document import Document
from llterm.session.session import Session
from llterm.ui.launch import Launch
from llterm.ui.llterm_app import LltermApp
from llterm.ui.weave.heat_panel import (
    HeatPanel,
)
from llterm.ui.weave.weave_screen import WeaveScreen

STORY = "Once upon a time a lamp maker lived by the river with a cat. The cat"
Progress = Callable[[float], None]
Shown = TypeVar("Shown", bound=Screen[Any])


@dataclass
class Driven:
    """An app that runs, and short ways to what tests look at."""

    app: LltermApp
    pilot: Pilot[None]

    @property
    def main(self) -> WeaveScreen:
        return self.app.main

    @property
    def session(self) -> Session:
        return self.app.session

    @property
    def story(self) -> str:
        return self.session.document.text

    @property
    def notices(self) -> list[Notification]:
        """What the app has said beside its screens, and that is still there."""
        return list(self.app._notifications)

    @property
    def told(self) -> bool:
        """Whether the screen has been told of every change; the bridge holds some back a while."""
        bridge = self.main.bridge
        return bridge is not None and not bridge.waiting

    async def press(self, *keys: str) -> None:
        """Press keys, and let the screen hear of what they changed, unless more is under way."""
        await self.pilot.press(*keys)
        await self.pilot.pause()
        session = self.session
        while not (self.told or session.weaving or session.player.playing):
            await self.pilot.pause(0.005)

    async def until(self, holds: Callable[[], object]) -> None:
        """Let the app go on until this holds."""
        for _ in range(12_000):
            if holds():
                await self.pilot.pause()
                return
            await self.pilot.pause(0.005)
        raise AssertionError("it never came to hold")

    async def opened(self, kind: type[Shown]) -> Shown:
        """The uppermost screen, once it is of this kind."""
        await self.until(lambda: isinstance(self.app.screen, kind))
        screen = self.app.screen
        assert isinstance(screen, kind)
        return screen

    async def weave(self) -> None:
        """Weave at the cursor, to the end, and until it is on screen."""
        await self.press("ctrl+j")
        await self.until(
            lambda: not self.session.weaving and self.told and self.main.suggestions.rows
        )

    def line(self, id: str) -> str:
        """What a line of the screen says."""
        return str(self.main.query_one(f"#{id}").render())


def opens(make: Callable[[], Backend]) -> Callable[[Progress], Awaitable[Backend]]:
    """Opens the backend that is made at once."""

    async def opening(progress: Progress) -> Backend:
        return make()

    return opening


def prompts(options: OptionList) -> list[str]:
    """The rows of a list as texts."""
    return [str(option.prompt) for option in options.options]


def drawn(screen: Screen[Any]) -> list[str]:
    """The lines of a screen as they go to the terminal."""
    return [
        "".join(segment.text for segment in strip if not segment.control)
        for strip in screen._compositor.render_strips()
    ]


def bound(*nodes: DOMNode) -> set[str | None]:
    """The actions that have a key on these nodes."""
    return {binding.id for node in nodes for _, binding in node._bindings}


@dataclass
class Start:
    """How a test wants its app; called to run it."""

    folder: Path
    opening: Callable[[Progress], Awaitable[Backend]] | None = None
    address: str = ""
    """The model is on a server at this address, if there is one."""
    config: Config = field(default_factory=Config)
    rules: WeaveSettings = field(default_factory=WeaveSettings)
    auto_weave: bool = False
    offer: bool = False
    constraint: Constraint | None = None

    def __call__(
        self, story: str | bytes = STORY, *, size: tuple[int, int] = (80, 24), ready: bool = True
    ) -> AbstractAsyncContextManager[Driven]:
        return self._run(story.encode() if isinstance(story, str) else story, size, ready)

    @asynccontextmanager
    async def _run(self, story: bytes, size: tuple[int, int], ready: bool) -> AsyncIterator[Driven]:
        def opening(progress: Progress, hear: HearNews) -> Awaitable[Backend]:
            if self.address:
                return open_model(self.address, self.config, None, progress, hear)
            return (self.opening or opens(ScriptedBackend))(progress)

        path = self.folder / "cat.loom"
        document = Document.open(path) if path.exists() else None
        document = document or Document.create(path, story, self.rules)
        launch = Launch(
            path,
            None,
            None,
            None,
            self.config,
            opening,
            self.address or "scripted",
            self.auto_weave,
            offer=self.offer,
            constraint=self.constraint,
        )
        app = LltermApp(launch, document)
        _let_notices_stay(app)
        async with app.run_test(size=size, notifications=True) as pilot:
            driven = Driven(app, pilot)
            if ready:
                await driven.until(lambda: app.session.source is not None)
            yield driven


def _let_notices_stay(app: LltermApp) -> None:
    """Until they are taken away: on a busy machine their seconds are over before a test looks."""
    say = app.notify

    def notify(message: str, **how: Any) -> None:
        say(message, **{**how, "timeout": 3600})

    setattr(app, "notify", notify)  # noqa: B010 (a method of this one app)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders of its own for every test."""
    for name in ("CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"LLTERM_{name}_DIR", str(tmp_path / name.lower()))
    monkeypatch.delenv("NO_COLOR", raising=False)
    return tmp_path


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return Start(tmp_path)


async def open_heat(at: Driven) -> HeatPanel:
    await at.press("f4")
    await at.until(lambda: at.session.reader.places and not at.session.reader.waiting)
    await at.until(lambda: at.main.heat.reading is not None)
    return at.main.heat


def shows_story(at: Driven) -> bool:
    return at.main.editor.text == at.story
