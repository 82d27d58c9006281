"""Dialogs, keys, sizes, themes."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.command import CommandPalette
from textual.widgets import Input, OptionList, TextArea

from llterm.config import Config
from llterm.config.schema import Ui
from llterm.config.theme_names import shipped_folder
from llterm.keymap import ACTIONS
from llterm.state import read_state
from llterm.ui.dialogs.help_dialog import HelpDialog
from llterm.ui.dialogs.settings_dialog import SettingsDialog
from llterm.ui.theme_files import load_themes
from llterm.ui.weave.panes import JumpScreen
from tests.helpers.driven_app import STORY, Start, bound


async def test_every_action_has_a_deed_and_a_key(start: Start) -> None:
    async with start() as at:
        assert set(at.main.table) == {one.id for one in ACTIONS if one.where not in ("loom", "mix")}
        nodes = (at.main, at.main.editor, at.main.suggestions, at.main.heat)
        assert bound(*nodes) >= set(at.main.table)


async def test_a_key_of_ones_own_wins_over_the_text_area(start: Start) -> None:
    start.config = Config(keys={"weave.start": "ctrl+e", "edit.find": "ctrl+a"})
    async with start() as at:
        await at.press("ctrl+a", "c", "a", "t")
        assert at.main.find_bar.display
        await at.press("escape", "ctrl+e")
        await at.until(lambda: at.main.suggestions.rows)
        assert at.story == STORY


async def test_help_is_made_from_the_bindings(start: Start) -> None:
    start.config = Config(keys={"weave.start": "f15,ctrl+e"})
    async with start(size=(120, 40)) as at:
        await at.press("f1")
        assert isinstance(at.app.screen, HelpDialog)
        text = "\n".join(str(one.render()) for one in at.app.screen.query("Static"))
        assert "F15 ^E" in text
        assert "Weave at the cursor" in text
        await at.press("escape")
        assert at.app.screen_stack == [at.main]


async def test_the_palette_runs_an_action(start: Start) -> None:
    async with start() as at:
        await at.press("ctrl+p")
        assert isinstance(at.app.screen, CommandPalette)
        await at.press(*"hidden text")
        options = at.app.screen.query_one(OptionList)
        await at.until(
            lambda: options.option_count and "idden" in str(options.get_option_at_index(0).prompt)
        )
        await at.press("enter")
        await at.until(lambda: at.app.screen.query(TextArea) and at.app.screen is not at.main)
        await at.press("o", "k", "ctrl+j")
        assert at.session.document.prefix == "ok"
        await at.press("ctrl+z")
        assert at.session.document.prefix == ""


async def test_settings_count_at_once_and_absurd_ones_are_refused_in_place(start: Start) -> None:
    async with start() as at:
        await at.weave()
        await at.press("f5")
        panel = await at.opened(SettingsDialog)
        depth = panel.query_one("#depth", Input)
        assert depth.has_focus
        for wrong in ("0", "-3", "999999", "x", "1e9", ""):
            depth.value = wrong
            await at.pilot.pause()
            assert at.session.document.rules.depth == 12
            assert depth.has_class("-wrong")
        depth.value = "3"
        await at.pilot.pause()
        assert at.session.document.rules.depth == 3
        panel.query_one("#stop", Input).value = "THE END|\\n"
        await at.pilot.pause()
        assert at.session.document.rules.stops == ("THE END", "\n")
        panel.query_one("#heal").focus()
        await at.press("space")
        assert not at.session.document.rules.heal
        await at.press("escape")
        assert at.app.screen is at.main
    assert not [name for name in read_state().values if not name.startswith("ui.")]


@pytest.mark.parametrize("size", [(80, 24), (120, 60)])
async def test_the_arrows_walk_all_settings_whether_they_fit_or_not(
    start: Start, size: tuple[int, int]
) -> None:
    async with start(size=size) as at:
        await at.press("f5")
        rows = [one.id for one in at.app.screen.query("Input, Toggle")]
        for id in rows[1:]:
            await at.press("down")
            assert at.app.screen.query_one(f"#{id}").has_focus
        for id in rows[-2::-1]:
            await at.press("up")
            assert at.app.screen.query_one(f"#{id}").has_focus


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (60, 15), (40, 10), (20, 5), (1, 1)])
async def test_any_size_works(start: Start, size: tuple[int, int]) -> None:
    async with start() as at:
        await at.weave()
        await at.pilot.resize_terminal(*size)
        await at.press("ctrl+o", "down", "ctrl+o", "z")
        assert at.story == STORY + "z"
        if size[0] >= 40:
            for id in ("story", "tree", "found", "keys", "name"):
                region = at.main.query_one(f"#{id}").region
                assert region.height >= 1, id
                assert region.right <= size[0]
                assert region.bottom <= size[1]
        await at.press("f1", "escape", "f5", "escape", "f12", "escape")


async def test_mouse_selects_folds_and_accepts(start: Start) -> None:
    async with start() as at:
        await at.weave()
        tree = at.main.suggestions
        await at.pilot.click(tree, offset=(12, 1))
        assert tree.has_focus
        assert tree.selected is tree.rows[1]
        first = next(n for n, row in enumerate(tree.rows) if row.branch.children)
        rows = len(tree.rows)
        await at.pilot.click(tree, offset=(2 + 2 * tree.rows[first].depth, first))
        assert len(tree.rows) < rows
        await at.pilot.click(tree, offset=(12, 0), times=2)
        assert at.story != STORY


async def test_folds_stay_while_the_tree_is_read_again(start: Start) -> None:
    async with start() as at:
        await at.weave()
        await at.press("ctrl+o", "home", "space")
        folded = len(at.main.suggestions.rows)
        await at.press("+", "-")
        await at.until(lambda: at.session.document.rules.cutoff == 0.1)
        await at.pilot.pause(0.15)
        assert len(at.main.suggestions.rows) == folded


async def test_a_theme_is_chosen_and_kept(start: Start) -> None:
    async with start() as at:
        assert at.app.theme == "dusk"
        at.app.theme = "paper"
        await at.pilot.pause()
    assert read_state().values["ui.theme"] == "paper"


async def test_bad_themes_are_told_in_one_notice(start: Start, home: Path) -> None:
    folder = home / "config" / "themes"
    folder.mkdir(parents=True)
    (folder / "a.toml").write_text("[colours]\n")
    (folder / "b.toml").write_text('name = "b"\n[colors]\nbar = "nocolor"\n')
    (folder / "c.toml").write_text("not toml")
    (folder / "mine.toml").write_text('name = "mine"\n[colors]\nbar = "#ff0000"\n')
    start.config = Config(ui=Ui(theme="mine"))
    async with start() as at:
        assert at.app.theme == "mine"
        (notice,) = at.notices
        for part in ("a.toml", "did you mean colors?", "b.toml", "bar", "c.toml"):
            assert part in notice.message


@pytest.mark.parametrize("colors", [16, 256, 1 << 24])
def test_shipped_themes_are_whole(colors: int) -> None:
    themes = load_themes(colors, [shipped_folder()])
    assert not themes.troubles
    assert set(themes.themes) == {"contrast", "dusk", "paper"}
    assert themes.choose("papr") == "dusk"
    assert "paper" in themes.troubles[0]


async def test_no_color_still_tells_ghost_cursor_and_selection(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with start() as at:
        await at.weave()
        styles = [s.style for s in at.main.editor.render_line(0)] + [
            s.style for y in range(4) for s in at.main.editor.render_line(y)
        ]
        assert any(style and style.dim and style.italic for style in styles)
        row = list(at.main.suggestions.render_line(0))
        assert any("%" in segment.text for segment in row)
        await at.press("ctrl+o")
        assert all(
            segment.style and segment.style.reverse
            for segment in at.main.suggestions.render_line(0)
            if segment.text.strip()
        )


async def test_jump_goes_to_the_other_pane_or_by_letter(start: Start) -> None:
    async with start(size=(120, 40)) as at:
        await at.weave()
        await at.press("ctrl+o")
        assert at.main.suggestions.has_focus
        await at.press("ctrl+o")
        assert at.main.editor.has_focus
        await at.press("f4", "escape", "ctrl+o")
        assert isinstance(at.app.screen, JumpScreen)
        await at.press("h")
        assert at.main.heat.has_focus
        await at.press("ctrl+o", "t")
        assert at.main.suggestions.has_focus
        await at.press("ctrl+o", "escape")
        assert at.main.suggestions.has_focus
        await at.press("ctrl+o", "ctrl+o")
        assert at.main.editor.has_focus
        assert at.story == STORY
