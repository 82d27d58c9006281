"""The sampler panel: live, kept, by keys alone; banned branches in the tree."""

from __future__ import annotations

import pytest
from textual.widgets import DataTable, OptionList, Static

from llterm.core.sampling.sampler_settings import SamplerSettings
from llterm.state import read_state
from llterm.ui.dialogs.inspector_dialog import InspectorDialog
from llterm.ui.dialogs.sampler_dialog import SamplerDialog
from tests.helpers.driven_app import Driven, Start, open_heat, prompts


async def opened(at: Driven, *, heat: bool = True) -> SamplerDialog:
    if heat:
        await open_heat(at)
        await at.press("left", "left")
    await at.press("ctrl+k")
    panel = await at.opened(SamplerDialog)
    if heat:
        await at.until(lambda: "kept" in drawn(panel))
    return panel


def drawn(panel: SamplerDialog) -> str:
    return str(panel.query_one("#drawn", Static).render())


def listed(panel: SamplerDialog) -> list[str]:
    return prompts(panel.query_one(OptionList))


@pytest.mark.parametrize("size", [(80, 24), (60, 15)])
async def test_turning_a_knob_moves_the_candidates_with_no_inference(
    start: Start, size: tuple[int, int]
) -> None:
    async with start(size=size) as at:
        panel = await opened(at)
        spent, before = at.session.backend.spent, drawn(panel)  # type: ignore[union-attr]
        assert panel.query_one("#drawn", Static).size.height >= 4
        await at.press("p")
        assert at.session.sampling.label == "creative"
        assert drawn(panel) != before
        await at.press("r")
        assert drawn(panel) == before
        await at.press("down", "down", "down", "down")
        await at.press("0", ".", "0", "1", "enter")
        assert at.session.sampling.settings.temperature == 0.01
        assert "100%" in drawn(panel)
        assert at.session.backend.spent == spent  # type: ignore[union-attr]
        await at.press("escape")
        assert at.app.screen is at.main


async def test_stages_move_switch_off_and_undo_brings_them_back(start: Start) -> None:
    async with start() as at:
        panel = await opened(at, heat=False)
        assert "heat panel" in drawn(panel)
        await at.press("right_square_bracket")
        assert at.session.sampling.settings.order == ("temperature", "penalties", "top_p")
        assert listed(panel)[1].startswith("1 temperature")
        assert listed(panel)[panel.query_one(OptionList).highlighted or 0][:8] == "2 repeat"
        await at.press("space")
        assert "penalties" not in at.session.sampling.settings.order
        await at.press("escape", "ctrl+z", "ctrl+z")
        assert at.session.sampling.label == "balanced"


async def test_a_chain_is_saved_by_name_chosen_again_after_a_restart_and_forgotten(
    start: Start,
) -> None:
    async with start() as at:
        panel = await opened(at, heat=False)
        await at.press("right", "right", "s")
        await at.press(*"greedy", "enter")
        assert "none of llterm's own" in str(panel.query_one(".setting--note", Static).render())
        await at.press(*["backspace"] * 6, *"mine", "enter")
        assert at.session.sampling.label == "mine"
    choices = read_state().values
    assert "sampling.preset" not in choices
    assert choices["presets.mine"]["repeat_penalty"] == 1.07  # type: ignore[index]
    from llterm.config import load_config

    start.config = load_config(environment={}, state=choices, folder=start.folder)
    async with start() as at:
        assert at.session.sampling.label == "mine"
        assert isinstance(at.session.presets["mine"], SamplerSettings)
        await opened(at, heat=False)
        await at.press("p", "x")
        assert "mine" in at.session.presets
        await at.press("up", "left", "x")
        assert "mine" not in at.session.presets
        assert at.session.sampling.label == "custom"
    assert "presets.mine" not in read_state().values


async def test_a_wrong_value_is_refused_in_place(start: Start) -> None:
    async with start() as at:
        panel = await opened(at, heat=False)
        await at.press("enter", *"-3", "enter")
        note = panel.query_one(".setting--note", Static)
        assert "above 0" in str(note.render())
        assert at.session.sampling.label == "balanced"
        await at.press("escape")
        assert isinstance(at.app.screen, SamplerDialog)
        await at.press("escape")
        assert not isinstance(at.app.screen, SamplerDialog)


async def test_the_inspector_opens_the_panel_and_follows_it(start: Start) -> None:
    async with start(size=(120, 40)) as at:
        await opened(at)
        await at.press("escape", "i")
        await at.opened(InspectorDialog)
        table = at.app.screen.query_one(DataTable)
        await at.until(lambda: table.row_count > 10)
        assert str(table.get_row_at(1)[-1]).strip() == "top_p"
        await at.press("f6")
        await at.opened(SamplerDialog)
        await at.press("up", "left", "left", "left")
        assert at.session.sampling.label == "neutral"
        await at.press("escape")
        await at.until(lambda: str(table.get_row_at(1)[-1]).strip() == "")


async def test_what_a_ban_takes_is_struck_through_in_the_tree(start: Start) -> None:
    async with start() as at:
        await at.weave()
        word = at.main.suggestions.rows[0].branch.data.decode().split()[0]
        await opened(at, heat=False)
        options = at.app.screen.query_one(OptionList)
        await at.press("end", *["up"] * 4, "enter")
        await at.press(*word, "enter")
        assert at.session.sampling.bans.phrases == (word,)
        assert options.has_focus
        await at.press("escape")
        shown = [row.branch.data.decode() for row in at.main.suggestions.rows]
        assert not any(word in text for text in shown)
        await at.weave()
        await at.press("ctrl+o", "b")
        await at.until(lambda: "banned branch" in at.line("branch"))
        rows = at.main.suggestions.rows
        banned = [n for n, row in enumerate(rows) if row.branch.banned]
        assert banned
        at.main.suggestions.select(banned[0])
        await at.pilot.pause()
        y = banned[0] - at.main.suggestions.scroll_offset.y
        strip = at.main.suggestions.render_line(y)
        assert any(cell.style and cell.style.strike for cell in strip)
        assert not at.main.table["suggestion.accept"].applies()
        assert at.main.editor.ghost == ""
        await at.press("b")
        assert not any(row.branch.banned for row in at.main.suggestions.rows)
