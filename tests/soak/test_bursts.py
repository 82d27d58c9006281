"""Random bursts of keys against a model of what must come of them: none is lost or goes astray."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.widgets import Input, TextArea

from llterm.config.sampling_values import value_of
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
from tests.helpers.driven_app import Driven
from tests.helpers.driven_app import Start as StartApp
from tests.helpers.driven_app import home as own_folders
from tests.helpers.driven_app import start as start_app
from tests.helpers.key_walk import STORY, KeyWalk, Place
from tests.helpers.soak_rounds import rounds
from tests.helpers.terminal import llterm

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
        assert terminal.wait(240) == 0
    document = Document.open(tmp_path / "cat.loom")
    try:
        assert document.text == walk.story
        assert document.prefix == walk.prefix
        assert document.rules.depth == walk.depth
        assert all(word in noted(document) for word in walk.notes)
    finally:
        document.close()
