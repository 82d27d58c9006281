"""Bursts of keys, of every screen and random ones, in the real program and over a slow line too:
none is lost or goes astray.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from textual.widgets import Input, TextArea

from llterm.backends.scripted import ScriptedBackend
from llterm.config.sampling_values import value_of
from llterm.core.chat_messages import read_chat
from llterm.core.query import Backend
from llterm.session import looms
from llterm.session.document import Document
from llterm.ui.dialogs import sampler_rows
from llterm.ui.dialogs.help_dialog import HelpDialog
from llterm.ui.dialogs.sampler_dialog import SamplerDialog
from llterm.ui.dialogs.settings_dialog import SettingsDialog
from llterm.ui.dialogs.text_dialogs import AskText, PrefixDialog
from llterm.ui.loom.loom_screen import LoomScreen
from llterm.ui.palette import Palette
from llterm.ui.weave.weave_screen import WeaveScreen
from tests.helpers.bursts import acted, burst, written
from tests.helpers.delayed_terminal import DelayedTerminal
from tests.helpers.driven_app import STORY as SCRIPTED
from tests.helpers.driven_app import Driven
from tests.helpers.driven_app import Start as StartApp
from tests.helpers.driven_app import home as own_folders
from tests.helpers.driven_app import start as start_app
from tests.helpers.key_walk import STORY, KeyWalk, Place
from tests.helpers.program_home import Start
from tests.helpers.screen_bursts import EXPORTED, HEATED, PLAIN, WOVEN, two_more_looms
from tests.helpers.soak_rounds import rounds
from tests.helpers.terminal import Terminal, llterm

__all__ = ["own_folders", "start_app"]

pytestmark = pytest.mark.soak

LATENCY = 0.3
"""Seconds that a key is under way, and as many that the answer is."""
SCREENS: dict[Place, type[object]] = {
    "story": WeaveScreen, "find": WeaveScreen, "prefix": PrefixDialog, "palette": Palette,
    "help": HelpDialog, "loom": LoomScreen, "note": AskText, "settings": SettingsDialog,
    "sampler": SamplerDialog, "value": SamplerDialog,
}  # fmt: skip


def bursts(walk: KeyWalk, seed: int) -> Iterator[str]:
    """Bursts, cut anywhere; what one does is done when it is given out."""
    sizes = random.Random(seed)
    for _ in range(rounds(100)):
        yield written(*(walk.key() for _ in range(sizes.choice((1, 2, 5, 10, 25)))))


def check(at: Driven, walk: KeyWalk) -> None:
    """That screen, focus, story and fields are as they must be."""
    assert isinstance(at.app.screen, SCREENS[walk.place])
    focused = at.app.focused
    if walk.place == "story":
        assert focused is at.main.editor
    elif isinstance(focused, Input) and walk.place in ("find", "palette", "value"):
        assert focused.value == walk.field
    elif walk.place == "prefix":
        assert isinstance(focused, TextArea)
        assert focused.text == walk.field
    assert at.story == walk.story
    assert at.main.editor.offset_of_cursor == walk.cursor
    assert at.session.document.prefix == walk.prefix
    assert at.session.document.rules.depth == walk.depth
    if walk.value:
        knob = sampler_rows.rows(at.session.sampling)[1]
        assert value_of(at.session.sampling, knob.name) == float(walk.value)


def noted(document: Document) -> str:
    return "\n".join(one.note for one in document.loom.marks.values())


@pytest.mark.parametrize("seed", range(5))
async def test_every_key_acts_where_the_keys_before_it_led(start_app: StartApp, seed: int) -> None:
    async with start_app(STORY) as at:
        at.main.editor.action_story_end()
        walk = KeyWalk(seed)
        for keys in bursts(walk, seed):
            burst(at, keys)
            await acted(at)
            check(at, walk)
        assert all(word in noted(at.session.document) for word in walk.notes)
        assert not at.app.gate.stuck


@pytest.mark.pty
@pytest.mark.parametrize("seed", range(5))
def test_on_a_slow_line_too(tmp_path: Path, seed: int) -> None:
    """The keys of a whole round are under way before the first is seen to have acted."""
    folders = {
        f"XDG_{name}_HOME": str(tmp_path / name.lower()) for name in ("DATA", "CONFIG", "STATE")
    }
    command = llterm("weave", "cat.loom", "--prompt", STORY)
    with DelayedTerminal(
        command, LATENCY, seed, env={"HOME": str(tmp_path), **folders}, cwd=tmp_path
    ) as terminal:
        terminal.wait_for("fable")
        walk = KeyWalk(seed)
        for keys in bursts(walk, seed):
            terminal.send(keys)
            terminal.read(0.1)
        terminal.send(written(*walk.home(), "ctrl+q"))
        assert terminal.wait(600) == 0
    document = Document.open(tmp_path / "cat.loom")
    try:
        assert document.text == walk.story
        assert document.prefix == walk.prefix
        assert document.rules.depth == walk.depth
        assert all(word in noted(document) for word in walk.notes)
    finally:
        document.close()


async def test_while_a_model_never_answers_the_next_key_is_acted_on(start_app: StartApp) -> None:
    async def silent() -> None:
        await asyncio.Event().wait()

    async def opening(progress: Callable[[float], None]) -> Backend:
        return ScriptedBackend(silent)

    start_app.opening = opening
    begins = ("weave.", "suggestion.", "heat.", "play.", "model.", "app.mix", "app.count")
    async with start_app() as at:
        for action in sorted(id for id in at.main.table if id.startswith(begins)):
            at.main.action_run(action)
            burst(at, written("escape", "escape", "escape"))
            await acted(at)
            before = at.story
            burst(at, written("x"))
            await acted(at)
            assert len(at.story) == len(before) + 1, action
            assert not at.app.gate.stuck, action


# --- in the real program


PROMPT = "The little fox lived at the edge of"
FOLDERS = ("CONFIG", "DATA", "STATE")


@pytest.fixture
def app(start: Start, home: Path) -> Callable[..., Terminal]:
    """Start the real app over the folders of this test."""
    folders = {f"LLTERM_{name}_DIR": os.environ[f"LLTERM_{name}_DIR"] for name in FOLDERS}
    return partial(
        start, "weave", "cat.loom", "--prompt", SCRIPTED, "--model", "scripted", **folders
    )


@pytest.mark.pty
def test_every_dialog_over_the_story_in_one_write(home: Path, app: Callable[..., Terminal]) -> None:
    two_more_looms(home)
    terminal = app()
    terminal.wait_for("scripted")
    terminal.send("".join(one.keys for one in PLAIN) + written("ctrl+q"))
    assert terminal.wait() == 0
    document = Document.open(home / "cat.loom")
    marks = list(document.loom.marks.values())
    assert " quick Ffox pasted\ntext!abcdefghijklm So.nopqA\n\n" in document.text
    assert document.text.endswith("rs")
    assert document.prefix == "WORD+"
    assert [one.note for one in marks if one.note] == ["hello"]
    assert [(one.tags, one.rating) for one in marks if one.tags] == [(("sad", "long"), 3)]
    assert document.rules.depth == 7
    assert [one.content for one in read_chat(document.chat).said()] == ["Hi", "Yes", "So"]
    document.close()
    assert {one.title for one in looms.looms()} == {"cat", "boat"}
    assert (home / EXPORTED).exists()


@pytest.mark.pty
def test_the_suggestions_and_the_heat_panel_in_one_write(
    home: Path, app: Callable[..., Terminal]
) -> None:
    terminal = app()
    terminal.wait_for("scripted")
    terminal.send(written("ctrl+j"))
    terminal.wait_for(lambda text: re.search(r"[1-9]\d suggestions ", text))
    terminal.settle()
    terminal.send("".join(one.keys for one in WOVEN))
    terminal.wait_for("!bcd")
    terminal.send(written("f4"))
    terminal.settle()
    terminal.send("".join(written("escape") + one.keys for one in HEATED) + written("ctrl+q"))
    assert terminal.wait() == 0
    document = Document.open(home / "cat.loom")
    texts = [document.loom.text(node).decode() for node in document.loom.nodes]
    assert any(text.startswith(SCRIPTED) and text.endswith("!bcdabc") for text in texts)
    assert document.text == "OnceZd"
    document.close()


@pytest.mark.pty
def test_a_digit_after_the_jump_key_is_no_text(start: Start, home: Path) -> None:
    terminal = start("weave", "fox.loom", "--prompt", PROMPT)
    terminal.wait_for("fable")
    terminal.send(written("ctrl+j"))
    terminal.wait_for(lambda text: re.search(r"[1-9]\d suggestions ", text))
    terminal.send(written("ctrl+o", "3", *"!", "ctrl+q"))
    assert terminal.wait() == 0
    document = Document.open(home / "fox.loom")
    text = document.text
    document.close()
    # The third suggestion was accepted in the tree, where an exclamation mark is no key.
    assert text.startswith(PROMPT)
    assert len(text) > len(PROMPT)
    assert not set("3!") & set(text)


@pytest.mark.pty
def test_what_is_typed_while_another_loom_is_opened_goes_there(start: Start, home: Path) -> None:
    Document.create(home / "boat.loom", b"The boat").close()
    terminal = start("weave", "boat.loom")
    terminal.wait_for("The boat")
    terminal.send(written("ctrl+q"))
    assert terminal.wait() == 0
    terminal = start("weave", "fox.loom", "--prompt", PROMPT)
    terminal.wait_for("fable")
    terminal.send(written("alt+o", "end", "home", "down", "enter", "ctrl+end", *" sailed"))
    terminal.wait_for("The boat sailed")
    terminal.send(written("ctrl+q"))
    assert terminal.wait() == 0
    document = Document.open(home / "boat.loom")
    text = document.text
    document.close()
    assert text == "The boat sailed"
