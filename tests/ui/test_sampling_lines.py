"""Sampled continuations, sentence beams and diverse ranking by keys, on screen as in the story."""

from __future__ import annotations

from dataclasses import replace

from textual.widgets import Input, OptionList, TextArea

from llterm.backends.scripted import ScriptedBackend
from llterm.core.weave_settings import WeaveSettings
from llterm.state import read_state
from llterm.ui.dialogs.models_dialog import ModelsDialog
from llterm.ui.dialogs.sentences_dialog import SentencesDialog, WriteIn
from llterm.ui.dialogs.settings_dialog import SettingsDialog
from llterm.ui.widgets.fields import Toggle
from tests.helpers.driven_app import STORY, Driven, Start, opens, shows_story
from tests.helpers.sessions import SEEDED, Gate, draw_by


def sampled(at: Driven) -> int:
    return sum(bool(row.branch.sampled) for row in at.main.suggestions.rows)


async def sample(at: Driven, key: str = "alt+s") -> None:
    await at.press(key)
    await at.until(lambda: not at.session.samples.running and sampled(at))


async def test_a_key_samples_lines_that_are_accepted_like_suggestions(start: Start) -> None:
    async with start(size=(120, 40)) as at:
        draw_by(at.session, SEEDED)
        at.main.options.ui = replace(at.main.options.ui, sample_lines=4, sample_tokens=6)
        await at.weave()
        woven = len(at.main.suggestions.rows)
        await sample(at)
        assert len(at.main.suggestions.rows) == woven + sampled(at)
        assert at.main.row is not None
        assert at.main.row.branch.sampled
        assert "sample " in at.line("branch")
        text = at.main.row.branch.data.decode()
        assert at.main.editor.ghost == text
        await at.press("tab")
        assert at.story == STORY + text
        assert shows_story(at)
        await at.press("ctrl+z")
        assert at.story == STORY
        await at.until(lambda: sampled(at))
        await at.press("ctrl+right")
        assert at.story == STORY + " " + text.split()[0]
        assert at.main.row is not None
        await at.press("ctrl+o", "S")
        await at.until(lambda: not at.session.samples.running)


async def test_escape_stops_the_lines_and_keeps_them(start: Start) -> None:
    gate = Gate(2)

    start.opening = opens(lambda: ScriptedBackend(gate))
    async with start() as at:
        await at.press("alt+s")
        await at.until(lambda: "sampling 5 lines" in at.line("found"))
        await at.press("escape")
        assert not at.session.samples.running
        await at.until(lambda: sampled(at))
        gate.opened.set()


async def test_the_panel_sets_how_many_and_how_long_and_keeps_it(start: Start) -> None:
    async with start() as at:
        await at.press("f5")
        await at.opened(SettingsDialog)
        at.app.screen.query_one("#sample_lines", Input).value = "2"
        at.app.screen.query_one("#sample_sentence", Toggle).focus()
        await at.press("space")
        await at.until(lambda: at.main.options.ui.sample_sentence)
        assert at.main.options.ui.sample_lines == 2
        assert read_state().values["ui.sample_lines"] == 2
        at.app.screen.query_one("#strategy", Input).value = "deep"
        await at.until(lambda: at.app.screen.query_one("#strategy").has_class("-wrong"))
        at.app.screen.query_one("#strategy", Input).value = "breadth"
        await at.until(lambda: at.session.document.rules.strategy == "breadth")


async def test_diverse_is_a_key_away_and_undone(start: Start) -> None:
    start.rules = WeaveSettings(depth=3, cutoff=0.02, beams=10)
    async with start(size=(120, 40)) as at:
        await at.weave()
        await at.press("ctrl+o", "D")
        assert at.session.document.rules.diverse
        await at.until(lambda: not at.session.weaving and "differ" in at.line("found"))
        await at.press("D")
        assert not at.session.document.rules.diverse


async def test_sentences_are_picked_kept_written_and_taken_back(start: Start) -> None:
    async with start(size=(100, 30)) as at:
        draw_by(at.session, SEEDED)
        await at.press("alt+n")
        screen = await at.opened(SentencesDialog)
        options = screen.query_one(OptionList)
        await at.until(lambda: not screen.sentences.running and options.option_count > 1)
        await at.press("j", "space")
        offer = screen.sentences.offers[0]
        assert offer.kept
        await at.press("home", "down", "enter")
        await at.until(lambda: at.story != STORY)
        landed = at.story
        await at.until(lambda: not screen.sentences.running and options.option_count)
        assert screen.sentences.offers[0] is offer
        await at.press("w")
        await at.opened(WriteIn)
        at.app.screen.query_one(TextArea).text = " The end."
        await at.press("ctrl+j")
        await at.until(lambda: at.story == landed + " The end.")
        await at.press("b")
        assert at.story == landed
        await at.press("b")
        assert at.story == STORY
        assert shows_story(at)
        await at.until(lambda: not screen.sentences.running)
        assert offer in screen.sentences.offers
        await at.press("m")
        await at.opened(ModelsDialog)
        models = at.app.screen.query_one(OptionList)
        await at.until(lambda: models.option_count)
        await at.press("home", "enter")
        await at.until(lambda: {"scripted", "fable"} <= set(screen.sentences.models))
        await at.until(lambda: {"fable"} & {one.source.name for one in screen.sentences.offers})
        await at.press("escape")
        await at.until(lambda: at.app.screen is at.main)
