"""The heat panel and the inspector, by keys."""

from __future__ import annotations

import math

import pytest
from textual.widgets import DataTable, Input

from llterm.constraints.spec import choices
from llterm.core.heat_scale import MEASURES
from llterm.keymap import action_of
from llterm.ui.dialogs.inspector_dialog import InspectorDialog
from llterm.ui.weave.heat_panel import (
    COLUMN,
    FORK_BITS,
    FORK_SECOND,
    HEAD,
    LIKELY,
    SURPRISE,
    HeatPanel,
    is_surprise,
)
from tests.helpers import driven_app
from tests.helpers.driven_app import STORY, Driven, Start, open_heat


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llterm.session.reader.PATIENCE", 0.0)


def drawn(panel: HeatPanel) -> list[str]:
    return [panel.render_line(y).text for y in range(panel.size.height)]


async def test_it_opens_at_the_cursor_and_shows_what_was_expected(start: Start) -> None:
    async with start(size=(120, 40)) as at:
        panel = await open_heat(at)
        assert panel.has_focus
        assert panel.chosen == len(at.session.reader.places) - 1
        lines = drawn(panel)
        assert "bits" in lines[0]
        assert "rank" in lines[0]
        assert any("•" in line and "%" in line for line in lines[3:])
        await at.press("f4")
        assert not panel.display
        assert at.main.editor.has_focus
        assert not at.session.reader.open


async def test_a_surprise_is_found_replaced_and_taken_back(start: Start) -> None:
    story = STORY + " lamp lamp sat. The cat"
    async with start(story) as at:
        panel = await open_heat(at)
        await at.press("N")
        reading = panel.reading
        assert reading is not None
        assert is_surprise(reading)
        place = at.session.reader.places[panel.chosen]
        await at.press("down")
        candidate = panel.candidate
        assert candidate is not None
        await at.press("enter")
        wanted = story.encode()[: place.start] + candidate.token.data
        assert at.story.encode() == wanted
        await at.press("ctrl+z")
        assert at.story == at.main.editor.text == story


async def test_escape_goes_back_to_where_the_cursor_was(start: Start) -> None:
    async with start() as at:
        await open_heat(at)
        at_start = at.main.editor.cursor_location
        await at.press("home", "right", "right")
        assert at.main.editor.cursor_location != at_start
        await at.press("escape")
        assert at.main.editor.has_focus
        assert at.main.editor.cursor_location == at_start
        assert at.story == STORY


async def test_measures_the_chart_and_a_small_screen(start: Start) -> None:
    async with start(size=(60, 15)) as at:
        panel = await open_heat(at)
        seen = set()
        for _ in MEASURES:
            seen.add(next(one for one in MEASURES if drawn(panel)[0].startswith(f" {one} ")))
            await at.press("m")
        assert seen == set(MEASURES)
        await at.press("c")
        assert any(set(line) & set("▁▂▃▄▅▆▇█") for line in drawn(panel)[2:])
        await at.press("c", "pageup", "home", "end", "]", "[", "n")
        assert at.story == STORY


async def test_the_suggestion_is_shown_after_the_story(start: Start) -> None:
    async with start(size=(120, 40)) as at:
        await at.weave()
        panel = await open_heat(at)
        await at.press("end")
        assert not panel.in_story
        await at.press("enter")
        assert at.story == STORY, "no candidate is chosen yet"


async def test_past_the_last_token_the_suggestion_comes_back(start: Start) -> None:
    async with start(size=(120, 40)) as at:
        await at.weave()
        panel = await open_heat(at)
        await at.press("left", "left")
        assert at.session.stale
        assert "stale" not in at.line("found"), "the cursor only looks round"
        await at.press("right", "right")
        assert panel.in_story
        await at.press("right")
        assert not panel.in_story
        assert not at.session.stale
        await at.press("home", "end")
        assert not panel.in_story


async def test_another_candidate_of_a_suggestion_is_taken_with_what_is_before_it(
    start: Start,
) -> None:
    async with start(size=(120, 40)) as at:
        await at.weave()
        tail = next(row.tail for row in at.main.suggestions.rows if len(row.tail) > 2)
        at.main.suggestions.select(
            next(n for n, row in enumerate(at.main.suggestions.rows) if row.tail == tail)
        )
        panel = await open_heat(at)
        await at.press("end", "left", "down", "down")
        candidate, reading = panel.candidate, panel.reading
        assert candidate is not None
        assert reading is not None
        taken = at.session.ghost(tail[: reading.index])
        await at.press("enter")
        assert at.story == STORY + taken + candidate.token.data.decode()
        await at.press("ctrl+z")
        assert at.story == STORY


async def test_the_inspector_says_what_the_constraint_allows(start: Start) -> None:
    async with start(size=(80, 24)) as at:
        await open_heat(at)
        await at.press("i")
        await at.opened(InspectorDialog)
        assert "valid" not in await columns(at)
        await at.press("escape")
        await at.session.set_constraint(choices([" sat.", " is asleep."]))
        await at.weave()
        await at.press("end", "i")
        await at.opened(InspectorDialog)
        assert "valid" in await columns(at)
        inspector = at.app.screen
        table = inspector.query_one(DataTable)
        assert table.virtual_size.width <= table.size.width
        headline = str(inspector.query_one(".dialog--note").render())
        assert "the constraint takes" in headline
        assert "as if" not in headline
        await at.press("escape", "home", "right", "i")
        await at.opened(InspectorDialog)
        assert "valid" in await columns(at)
        headline = str(at.app.screen.query_one(".dialog--note").render())
        assert "as if a weave began" in headline


async def columns(at: Driven) -> list[str]:
    """Of the inspector, once it has its table."""
    table = at.app.screen.query_one(DataTable)
    await at.until(lambda: table.row_count > 5)
    return [str(column.label).strip() for column in table.columns.values()]


async def test_the_inspector_filters_tries_a_chain_and_forces(start: Start) -> None:
    async with start(size=(120, 40)) as at:
        panel = await open_heat(at)
        await at.press("i")
        inspector = await at.opened(InspectorDialog)
        table = inspector.query_one(DataTable)
        await at.until(lambda: table.row_count > 10)
        inspector.query_one("#chain", Input).value = "top_k=2"
        await at.until(lambda: str(table.get_row_at(2)[-1]).strip() == "top_k")
        inspector.query_one("#chain", Input).value = "top_k=x"
        await at.until(lambda: "top_k=x" in str(inspector.query_one("#told").render()))
        inspector.query_one("#chain", Input).value = ""
        inspector.query_one("#filter", Input).value = "lamp"
        await at.until(lambda: "lamp" in str(table.get_row_at(0)[1]))
        place = at.session.reader.places[panel.chosen]
        chosen = str(table.get_row_at(0)[1]).strip().replace("␣", " ")
        table.focus()
        await at.press("enter")
        assert at.story == STORY[: place.start] + chosen


def test_the_help_says_what_surprises_and_forks_are() -> None:
    assert f"{SURPRISE:.0f} bits" in action_of("heat.next_surprise").help
    help = action_of("heat.next_fork").help
    assert f"{FORK_BITS:.0f} bits" in help
    assert f"{FORK_SECOND:.0%}" in help


async def test_candidates_are_the_lighter_the_likelier(start: Start) -> None:
    async with start(size=(120, 40)) as at:
        panel = await open_heat(at)
        panel.depth = "truecolor"
        reading = panel.reading
        assert reading is not None
        likely = [one for one in reading.top[:4] if one.logprob >= math.log(LIKELY)]
        cell = (panel.chosen - panel.left) * COLUMN + 2
        lights = []
        for rank in range(1, len(likely) + 1):
            (segment,) = panel.render_line(HEAD + rank).crop(cell, cell + 1)
            assert segment.style is not None
            assert segment.style.bgcolor is not None
            lights.append(sum(segment.style.bgcolor.get_truecolor()))
        assert lights == sorted(lights, reverse=True)
        assert len(set(lights)) > 1


async def test_bars_of_probabilities_rise_with_them(start: Start) -> None:
    async with start(size=(120, 40)) as at:
        panel = await open_heat(at)
        await at.press("c", *["m"] * MEASURES.index("probability"))
        lines = drawn(panel)
        assert "▁ 0%  █ 100%" in lines[0]
        readings = [reading for reading in at.session.reader.readings if reading is not None]
        likely = max(readings, key=lambda reading: reading.p)
        unlikely = min(readings, key=lambda reading: reading.p)
        at_bottom = [lines[-1][reading.index] for reading in (unlikely, likely)]
        assert at_bottom == sorted(at_bottom)
        assert len(set(at_bottom)) == 2


async def test_a_key_tells_whether_the_choice_matters(start: Start) -> None:
    async with start(size=(120, 40)) as at:
        await open_heat(at)
        await at.press("d")
        await at.until(lambda: any(one.title == "Futures" for one in at.notices))
        (said,) = [one.message for one in at.notices if one.title == "Futures"]
        assert "bits of at most" in said


async def test_a_key_goes_to_the_most_surprising_token_then_the_next(start: Start) -> None:
    async with start(STORY + " lamp lamp sat. The cat", size=(120, 40)) as at:
        await open_heat(at)
        surprisals = []
        for _ in range(3):
            await at.press("s")
            reading = at.main.heat.reading
            assert reading is not None
            surprisals.append(reading.surprisal)
        readings = [one for one in at.session.reader.readings if one is not None]
        assert surprisals == sorted((one.surprisal for one in readings), reverse=True)[:3]


async def test_the_inspector_weighs_a_whole_text(start: Start) -> None:
    async with start(size=(120, 40)) as at:
        panel = await open_heat(at)
        number = panel.chosen
        await at.press("i")
        inspector = await at.opened(InspectorDialog)
        await at.until(lambda: inspector.query_one(DataTable).row_count > 10)
        field = inspector.query_one("#filter", Input)
        field.value = " lamp maker"
        field.focus()
        await at.press("enter")
        await at.until(lambda: "joint" in str(inspector.query_one("#told").render()))
        note = str(inspector.query_one("#told").render())
        context = at.session.reader.context_of(number)
        tokens, logprob = await at.session.reader.joint(context, " lamp maker")
        assert "␣lamp maker" in note
        assert f"{tokens} tokens" in note
        assert logprob < 0


async def test_the_panel_takes_the_width_of_a_terminal_that_grows(start: Start) -> None:
    async with start(STORY * 4) as at:
        panel = await open_heat(at)
        await at.pilot.resize_terminal(120, 40)
        await at.until(lambda: panel.size.width == 120)
        await at.pilot.pause()
        row = driven_app.drawn(at.app.screen)[panel.content_region.y + HEAD]
        assert len(row.rstrip()) > 90, row
