"""Keys in one burst act in the order pressed, in every pane and dialog."""

from __future__ import annotations

import ast
import asyncio
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import OptionList

import llterm.ui
from llterm import paths
from llterm.backends.remote.server_connection import connect
from llterm.backends.scripted import ScriptedBackend
from llterm.config.sampling_values import value_of
from llterm.config.server_settings import ServerSettings
from llterm.constraints.spec import choices
from llterm.core.chat_messages import ChatMessage, read_chat
from llterm.core.query import Backend
from llterm.keymap import PANES
from llterm.session import looms
from llterm.session.document import Document
from llterm.ui.dialogs import sampler_rows
from llterm.ui.dialogs.attribution_dialog import AttributionDialog
from llterm.ui.dialogs.chat_dialog import ChatDialog
from llterm.ui.dialogs.comparison_dialog import ComparisonDialog
from llterm.ui.dialogs.constraint_dialog import ConstraintDialog
from llterm.ui.dialogs.export_dialog import ExportDialog
from llterm.ui.dialogs.former_bans_dialog import FormerBansDialog
from llterm.ui.dialogs.help_dialog import HelpDialog
from llterm.ui.dialogs.info_dialogs import LogDialog, ServerDialog
from llterm.ui.dialogs.inspector_dialog import InspectorDialog
from llterm.ui.dialogs.looms_dialog import LoomsDialog
from llterm.ui.dialogs.models_dialog import ModelsDialog
from llterm.ui.dialogs.place_dialogs import AlternativesDialog, PlaceDialog
from llterm.ui.dialogs.sampler_dialog import SamplerDialog
from llterm.ui.dialogs.sentences_dialog import SentencesDialog, WriteIn
from llterm.ui.dialogs.settings_dialog import SettingsDialog
from llterm.ui.dialogs.stories_dialog import StoriesDialog
from llterm.ui.dialogs.text_dialogs import AskLine, AskText, EditBranch, PrefixDialog, PutText
from llterm.ui.loom.loom_screen import LoomScreen
from llterm.ui.mix.mix_screen import MixScreen
from llterm.ui.palette import Palette
from llterm.ui.weave.panes import JumpScreen
from llterm.ui.weave.weave_screen import WeaveScreen
from llterm.ui.widgets.find_bar import FindBar
from tests.helpers.bursts import acted, burst, pasted, written
from tests.helpers.driven_app import STORY, Driven, Start, open_heat
from tests.helpers.fake_servers import OllamaServer
from tests.helpers.polling import until

NEW = ("ctrl+end",)
"""Where text is written that shows that the story has the focus again."""


@dataclass(frozen=True)
class Burst:
    """Keys that open something, are meant for it, and come back to the story."""

    covers: tuple[object, ...]
    """Screens, panes and widgets whose keys are in it."""
    keys: str
    holds: Callable[[Driven], object]
    """What must be so in the end."""


def marks(at: Driven) -> list[Any]:
    return list(at.session.document.loom.marks.values())


def in_order(*covers: object, keys: str, holds: Callable[[Driven], object]) -> Burst:
    return Burst(covers, keys, holds)


def ends(text: str) -> Callable[[Driven], bool]:
    return lambda at: at.story.endswith(text) and at.app.screen is at.main


# Each leaves the story in focus; texts are told apart by what was written after them.
PLAIN = [
    in_order(
        WeaveScreen, "story", "everywhere",
        keys=written(*" quick", "ctrl+end", *" fox"), holds=ends(" quick fox"),
    ),
    in_order("a paste", keys=pasted(" pasted\ntext") + written(*"!"), holds=ends(" pasted\ntext!")),
    in_order(
        PrefixDialog, keys=written("f7", *"WORD", "ctrl+j", *"a"),
        holds=lambda at: at.session.document.prefix == "WORD" and ends("!a")(at),
    ),
    in_order(
        FindBar, keys=written("ctrl+f", *"fox", "escape", *"F", "ctrl+end", *"b"),
        holds=lambda at: " quick Ffox" in at.story and ends("!ab")(at),
    ),
    in_order(
        LoomScreen, AskText, "loom",
        keys=written("alt+l", "o", *"hello", "ctrl+j", "escape", *"c"),
        holds=lambda at: "hello" in [one.note for one in marks(at)] and ends("!abc")(at),
    ),
    in_order(
        AskLine, keys=written("alt+l", "t", *"sad, long", "enter", "3", "escape", *"d"),
        holds=lambda at: any(one.tags == ("sad", "long") and one.rating == 3 for one in marks(at))
        and ends("!abcd")(at),
    ),
    in_order(
        PlaceDialog, keys=written("alt+l", "S", "home", "enter", "escape", *"e"),
        holds=lambda at: len(at.session.document.loom.path()) > 2 and ends("!abcde")(at),
    ),
    in_order(
        ComparisonDialog,
        keys=written(
            "alt+l", "A", *" a branch", "ctrl+j", "w", "down", "escape", "escape", *"f",
        ),
        holds=ends("!abcdef"),
    ),
    in_order(
        HelpDialog, keys=written("f1", "pagedown", "escape", *"g"), holds=ends("!abcdefg"),
    ),
    in_order(LogDialog, keys=written("f12", "down", "escape", *"h"), holds=ends("!abcdefgh")),
    in_order(
        SettingsDialog, keys=written("f5", "7", "escape", *"i"),
        holds=lambda at: at.session.document.rules.depth == 7 and ends("!abcdefghi")(at),
    ),
    in_order(
        SamplerDialog, keys=written("ctrl+k", *"0.5", "enter", "escape", *"j"),
        holds=lambda at: value_of(
            at.session.sampling, sampler_rows.rows(at.session.sampling)[1].name
        ) == 0.5 and ends("!abcdefghij")(at),
    ),
    in_order(
        ChatDialog, keys=written("alt+c", *"Hi", "f5", *"Yes", "f5", *"So", "ctrl+j", *"k"),
        holds=lambda at: read_chat(at.session.document.chat).said()
        == (ChatMessage("user", "Hi"), ChatMessage("assistant", "Yes"), ChatMessage("user", "So"))
        and ends("!abcdefghijk")(at),
    ),
    in_order(
        Palette, keys=written("ctrl+p", *"hidden text", "enter", *"+", "ctrl+j", *"l"),
        holds=lambda at: at.session.document.prefix == "WORD+" and ends("!abcdefghijkl")(at),
    ),
    in_order(
        LoomsDialog, keys=written("alt+o", "j", "d", "d", "u", "escape", *"m"),
        holds=lambda at: {one.title for one in looms.looms()} == {"cat", "boat"}
        and ends("!abcdefghijklm")(at),
    ),
    in_order(
        SentencesDialog, WriteIn, keys=written("alt+n", "w", *" So.", "ctrl+j", "escape", *"n"),
        holds=ends("!abcdefghijklm So.n"),
    ),
    in_order(
        MixScreen, "mix", keys=written("alt+x", "v", "home", "escape", *"o"),
        holds=ends(" So.no"),
    ),
    in_order(
        ConstraintDialog, keys=written("ctrl+l", *" lamp", "ctrl+j", *"p"),
        holds=lambda at: at.session.constraint == choices([" lamp"]) and ends(" So.nop")(at),
    ),
    in_order(
        StoriesDialog, keys=written("ctrl+right_square_bracket", "2", *"q"),
        holds=lambda at: at.story.endswith("q") and not at.story.endswith(" So.nopq"),
    ),
    in_order(
        ModelsDialog, keys=written("alt+m", "j", "k", "u", *"r"),
        holds=lambda at: at.session.source is None and at.story.endswith("qr"),
    ),
]  # fmt: skip
WOVEN = [
    in_order(
        "suggestions", keys=written("ctrl+o", "end", "home", "escape", *"a"),
        holds=lambda at: at.story == f"{STORY}a",
    ),
    in_order(
        EditBranch, keys=written("backspace", "ctrl+n", "f3", *"!", "ctrl+j", *"b"),
        holds=ends("!b"),
    ),
    in_order(
        AlternativesDialog, keys=written("alt+l", "i", "down", "escape", "escape", *"c"),
        holds=ends("!bc"),
    ),
]  # fmt: skip
HEATED = [
    in_order(
        JumpScreen, "heat",
        keys=written("ctrl+o", "3", "h", "home", "right", "escape", *"a"), holds=ends("a"),
    ),
    in_order(
        InspectorDialog,
        keys=written("f4", "home", "i", "tab", *"min_p=0.5", "escape", "escape", *"b"),
        holds=ends("ab"),
    ),
    in_order(
        AttributionDialog, keys=written("f4", "a", "m", "escape", "escape", *"c"),
        holds=ends("abc"),
    ),
    in_order(
        PutText, keys=written("f4", "home", "t", *"Z", "ctrl+j", *"d"),
        holds=lambda at: at.story.startswith("OnceZd"),
    ),
]  # fmt: skip
ELSEWHERE = (ExportDialog, ServerDialog, HelpDialog, FormerBansDialog)
"""What tests of their own below send bursts to."""


async def in_turn(at: Driven, bursts: list[Burst]) -> None:
    """Each in one go, and only when what the one before it left is right."""
    for one in bursts:
        burst(at, one.keys)
        await acted(at)
        try:
            await at.until(partial(one.holds, at))
        except AssertionError:
            where = f"{one.covers}: {at.app.screen}, {at.app.focused}, {at.story[-60:]!r}"
            raise AssertionError(where) from None
        assert at.app.screen is at.main
        assert at.main.editor.has_focus


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


async def test_in_dialogs_over_the_story(start: Start, tmp_path: Path) -> None:
    for name in ("boat", "tree"):
        Document.create(tmp_path / f"{name}.loom", name.encode()).close()
        looms.remember(tmp_path / f"{name}.loom")
    looms.remember(tmp_path / "cat.loom")
    async with start() as at:
        await in_turn(at, PLAIN)
        assert not at.app.gate.stuck


async def test_in_the_suggestions(start: Start) -> None:
    async with start() as at:
        await at.weave()
        await in_turn(at, WOVEN)


async def test_in_the_heat_panel(start: Start) -> None:
    async with start() as at:
        await at.weave()
        await open_heat(at)
        await at.press("escape")
        await in_turn(at, HEATED)


async def test_a_file_is_written_where_the_burst_says(start: Start, tmp_path: Path) -> None:
    target = tmp_path / "burst.txt"
    async with start() as at:
        burst(at, written("alt+e", "tab", *str(target), "enter", *"!"))
        await at.until(target.exists)
        await at.until(lambda: at.story == f"{STORY}!")


async def test_a_page_key_right_after_the_help_turns_its_page(start: Start) -> None:
    async with start() as at:
        burst(at, written("f1", "pagedown"))
        screen = await at.opened(HelpDialog)
        await at.until(lambda: screen.query_one(VerticalScroll).scroll_y > 5)


async def test_at_a_server(start: Start) -> None:
    async def opening(progress: Callable[[float], None]) -> Backend:
        return await connect("tiny", OllamaServer(), ServerSettings(("http://server",)), fresh=True)

    start.opening = opening
    async with start() as at:
        burst(at, written("alt+r", "pagedown", "escape", *"!"))
        await at.until(lambda: at.story == f"{STORY}!" and at.app.screen is at.main)


async def test_a_theme_is_chosen_by_a_burst(start: Start) -> None:
    async with start() as at:
        await at.weave()
        burst(at, written("ctrl+o", "t", *"paper", "enter", "escape", *"!"))
        await at.until(lambda: at.story == f"{STORY}!")
        assert at.app.theme == "paper"


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


async def test_what_is_typed_in_a_model_dialog_waits_for_its_list(start: Start) -> None:
    async with start() as at:
        burst(at, written("alt+m", "end"))
        screen = await at.opened(ModelsDialog)
        await at.until(lambda: screen.query_one(OptionList).highlighted is not None)


# --- nothing waits for a model


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


async def test_while_a_model_never_answers_the_next_key_is_acted_on(
    start: Start,
) -> None:
    async def silent() -> None:
        await asyncio.Event().wait()

    async def opening(progress: Callable[[float], None]) -> Backend:
        return ScriptedBackend(silent)

    start.opening = opening
    begins = ("weave.", "suggestion.", "heat.", "play.", "model.", "app.mix", "app.count")
    async with start() as at:
        for action in sorted(id for id in at.main.table if id.startswith(begins)):
            at.main.action_run(action)
            burst(at, written("escape", "escape", "escape"))
            await acted(at)
            before = at.story
            burst(at, written("x"))
            await acted(at)
            assert len(at.story) == len(before) + 1, action
            assert not at.app.gate.stuck, action


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
