"""Keys in one burst act in the order pressed, in every pane and dialog."""

from __future__ import annotations

import ast
import asyncio
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from textual.containers import VerticalScroll
from textual.events import Key
from textual.screen import Screen
from textual.widgets import OptionList

import llterm.ui
from llterm import paths
from llterm.backends.remote.server_connection import connect
from llterm.config.server_settings import ServerSettings
from llterm.core.query import Backend
from llterm.keymap import PANES
from llterm.session import looms
from llterm.store.loom_summary import LoomSummary
from llterm.ui.dialogs.former_bans_dialog import FormerBansDialog
from llterm.ui.dialogs.help_dialog import HelpDialog
from llterm.ui.dialogs.info_dialogs import ServerDialog
from llterm.ui.dialogs.models_dialog import ModelsDialog
from llterm.ui.widgets.find_bar import FindBar
from tests.helpers.bursts import acted, burst, written
from tests.helpers.driven_app import STORY, Start, open_heat
from tests.helpers.fake_servers import OllamaServer
from tests.helpers.polling import until
from tests.helpers.screen_bursts import HEATED, PLAIN, WOVEN, in_turn, two_more_looms

ELSEWHERE = (ServerDialog, FormerBansDialog)
"""What tests of their own below send bursts to."""


def walked(package: Any) -> Iterator[Any]:
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        yield importlib.import_module(info.name)


def kinds(base: type[Any]) -> set[type[Any]]:
    """What is derived from it, and nothing from that: what is really opened."""
    derived: list[type[Any]] = base.__subclasses__()
    return {kind for one in derived for kind in kinds(one)} or {base}


def test_every_screen_and_pane_has_its_burst() -> None:
    modules = list(walked(llterm.ui))
    assert modules
    screens = {one for one in kinds(Screen) if one.__module__.startswith("llterm.")}
    covered = {kind for one in (*PLAIN, *WOVEN, *HEATED) for kind in one.covers} | {*ELSEWHERE}
    assert screens <= covered, f"no burst for {screens - covered}"
    assert {*PANES, FindBar} <= covered


async def test_in_dialogs_over_the_story(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    two_more_looms(tmp_path)
    looms.remember(tmp_path / "cat.loom")
    async with start() as at:
        await in_turn(at, PLAIN)
        assert not at.app.gate.stuck


async def test_in_the_suggestions_and_the_heat_panel(start: Start) -> None:
    async with start() as at:
        await at.weave()
        await in_turn(at, WOVEN)
        await open_heat(at)
        await at.press("escape")
        await in_turn(at, HEATED)


async def test_at_a_server(start: Start) -> None:
    async def opening(progress: Callable[[float], None]) -> Backend:
        return await connect("tiny", OllamaServer(), ServerSettings(("http://server",)), fresh=True)

    start.opening = opening
    async with start() as at:
        burst(at, written("alt+r", "pagedown", "escape", *"!"))
        await at.until(lambda: at.story == f"{STORY}!" and at.app.screen is at.main)


async def test_keys_before_the_first_screen_is_there_wait_for_it(start: Start) -> None:
    start.offer = True
    async with start("", ready=False) as at:
        burst(at, written("escape", *"first"))
        await at.until(lambda: at.story == "first")


async def test_an_answer_about_former_bans_and_a_text_in_one_burst(start: Start) -> None:
    paths.made(paths.state_dir())
    paths.state_file().write_text('[sampling]\nban = ["river"]\n', encoding="utf-8")
    async with start("", ready=False) as at:
        burst(at, written("y", *"yes"))
        await at.until(lambda: at.story == "yes")
        assert at.session.sampling.bans.phrases == ("river",)


async def test_keys_for_a_new_screen_find_it_drawn_and_its_list_there(start: Start) -> None:
    async with start() as at:
        burst(at, written("f1", "pagedown"))
        text = await at.opened(HelpDialog)
        await at.until(lambda: text.query_one(VerticalScroll).scroll_y > 5)
        burst(at, written("escape", "alt+m", "end"))
        listed = await at.opened(ModelsDialog)
        await at.until(lambda: listed.query_one(OptionList).highlighted is not None)


# --- nothing waits for ever


def handlers(module: Path) -> Iterator[tuple[str, ast.AsyncFunctionDef]]:
    """The coroutines of a module that Textual waits for when something happens."""
    begins = ("on_", "_on_", "action_", "_action_", "key_", "watch_")
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.AsyncFunctionDef):
            continue
        decorated = [ast.unparse(one).partition("(")[0] for one in node.decorator_list]
        if node.name.startswith(begins) or "on" in decorated:
            yield f"{module.stem}.{node.name}", node


def test_no_handler_waits_for_anything() -> None:
    """While a handler waits, no key can act; what takes time is a worker's."""
    folder = Path(llterm.ui.__path__[0])
    waiting = {
        name
        for module in folder.rglob("*.py")
        for name, node in handlers(module)
        if any(isinstance(one, ast.Await | ast.AsyncFor | ast.AsyncWith) for one in ast.walk(node))
    }
    # Passing a key on, and the end of the app.
    assert waiting == {"llterm_app.on_event", "llterm_app.on_unmount"}


async def test_a_pane_that_hangs_holds_no_other_key_up_for_ever(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llterm.ui.key_gate.MOST", 20)
    async with start() as at:
        freed = asyncio.Event()
        at.main.editor.call_later(freed.wait)
        burst(at, written(*"lost?", "f1"))
        await until(lambda: isinstance(at.app.screen, HelpDialog))
        assert at.app.gate.stuck
        burst(at, written("escape"))
        await until(lambda: at.app.screen is at.main)
        freed.set()
        await until(lambda: at.story == f"{STORY}lost?")
        burst(at, written(*"!"))
        await acted(at)
        assert at.story == f"{STORY}lost?!"
        assert not at.app.gate.stuck


async def test_a_disk_that_never_answers_holds_no_key_up_for_ever(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llterm.ui.key_gate.MOST", 20)
    answered = Event()

    def look() -> list[LoomSummary]:
        answered.wait()
        return []

    monkeypatch.setattr(looms, "looms", look)
    async with start() as at:
        burst(at, written("alt+o", "escape", *"!"))
        try:
            await acted(at)
        finally:
            answered.set()
        assert at.story == f"{STORY}!"
        assert at.app.screen is at.main


async def test_keys_that_come_when_the_screens_have_gone_are_the_next_apps(start: Start) -> None:
    async with start() as at:
        screens = [*at.app._screen_stack]
        at.app._screen_stack.clear()
        try:
            for key in "no":
                await at.app.on_event(Key(key, key))
            left = at.app.gate.left()
        finally:
            at.app._screen_stack.extend(screens)
        assert [event.key for event in left if isinstance(event, Key)] == ["n", "o"]
        at.app.gate.open()
        await acted(at)
        assert at.story == f"{STORY}no"
