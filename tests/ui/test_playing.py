"""Step and play by keys, on screen as in the story."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.widgets import Input, TextArea

from llterm.backends.scripted import ScriptedBackend
from llterm.core.sampling.sampler_settings import PRESETS
from llterm.core.weave_settings import WeaveSettings
from llterm.state import read_state
from llterm.ui.dialogs.settings_dialog import SettingsDialog
from llterm.ui.dialogs.text_dialogs import PutText
from llterm.ui.widgets.status_line import StatusLine
from tests.helpers.driven_app import STORY, Start, open_heat, opens, shows_story
from tests.helpers.sessions import Gate


async def test_a_key_writes_one_token_and_undo_takes_it_back(start: Start) -> None:
    async with start() as at:
        at.session.set_sampling(at.session.sampling.under("greedy", PRESETS))
        await at.press("ctrl+d")
        await at.until(lambda: at.story != STORY)
        assert shows_story(at)
        assert len(at.story.removeprefix(STORY).split()) == 1
        await at.press("ctrl+z")
        assert at.story == STORY
        assert shows_story(at)


async def test_play_writes_on_until_escape_and_is_one_undo(start: Start) -> None:
    async with start() as at:
        at.session.player.speed = 6.0
        await at.press("ctrl+backslash")
        await at.until(lambda: at.session.player.drawn >= 3)
        await at.until(lambda: "playing, 6 tokens a second" in at.line("found"))
        await at.press("escape")
        assert not at.session.player.playing
        drawn = at.session.player.drawn
        await at.weave()
        assert at.session.player.drawn == drawn
        assert shows_story(at)
        await at.press("ctrl+z")
        assert at.story == STORY
        assert shows_story(at)


async def test_what_is_told_while_the_screen_goes_harms_nobody(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    async with start() as at:
        session = at.session

        def gone(line: StatusLine) -> None:
            if line.id == "branch":
                session.player.ended("The text is at its end")
                session.player.landed(session.document.edit(0, 0, "A"))
                told.append(line)

        monkeypatch.setattr(StatusLine, "on_unmount", gone, raising=False)
    assert told


async def test_typing_ends_the_play(start: Start) -> None:
    async with start() as at:
        at.session.player.speed = 6.0
        await at.press("ctrl+backslash")
        await at.until(lambda: at.session.player.drawn >= 2)
        await at.press("Q")
        await at.until(lambda: not at.session.player.playing)
        assert at.story.count("Q") == 1
        assert at.story.endswith("Q")
        assert shows_story(at)


async def test_the_speed_is_set_by_keys_and_panel_and_kept(start: Start) -> None:
    async with start() as at:
        await at.weave()
        await at.press("ctrl+o", "greater_than_sign")
        assert at.session.player.speed == 10
        assert read_state().values["ui.play_speed"] == 10
        await at.press("f5")
        await at.opened(SettingsDialog)
        field = at.app.screen.query_one("#play_speed", Input)
        field.value = "0"
        await at.until(lambda: at.session.player.speed == float("inf"))
        assert read_state().values["ui.play_speed"] == 0


async def test_a_resting_model_says_so(start: Start) -> None:
    async with start(size=(120, 40)) as at:
        await at.weave()
        await at.press("ctrl+o", "o")
        assert at.session.resting
        await at.until(lambda: "resting" in at.line("model"))
        await at.press("full_stop", "ctrl+j")
        assert at.story == STORY
        await at.press("o", "full_stop")
        await at.until(lambda: at.story != STORY)


async def test_a_text_of_ones_own_is_put_in_place_of_a_token(start: Start) -> None:
    async with start() as at:
        panel = await open_heat(at)
        place = at.session.reader.places[panel.chosen]
        await at.press("t")
        await at.opened(PutText)
        at.app.screen.query_one(TextArea).text = " dog with no name"
        await at.press("ctrl+j")
        assert at.story == STORY[: place.start] + " dog with no name"
        await at.press("ctrl+z")
        assert at.story == STORY
        assert shows_story(at)


async def test_the_autopilot_flies_its_rounds(start: Start) -> None:
    start.rules = WeaveSettings(depth=4, beams=5)
    async with start() as at:
        at.main.options.ui = replace(at.main.options.ui, autopilot=3)
        await at.weave()
        await at.press("ctrl+o", "R")
        await at.until(lambda: not at.session.autopilot.running)
        assert len(at.session.document.loom.path()) == 4
        assert shows_story(at)


async def test_escape_ends_the_autopilot(start: Start) -> None:
    gate = Gate(0)

    start.opening = opens(lambda: ScriptedBackend(gate))
    async with start() as at:
        at.main.suggestions.display = True
        at.main.suggestions.focus()
        await at.press("R")
        await at.until(lambda: "autopilot, 5 rounds to go" in at.line("found"))
        await at.press("escape")
        assert not at.session.autopilot.running
        assert not at.session.weaving
        gate.opened.set()
        await at.weave()
        assert at.story == STORY
