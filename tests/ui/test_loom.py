"""The loom screen, by keys: look through every branch, change the tree, undo, search, compare."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from rich.cells import cell_len

from llterm.core.loom_tree import ROOT
from llterm.keymap import ACTIONS
from llterm.session.document import Document
from llterm.ui.dialogs.comparison_dialog import ComparisonDialog
from llterm.ui.loom.loom_path import path_text
from llterm.ui.loom.loom_screen import LoomScreen
from tests.helpers.document_edits import model_run
from tests.helpers.driven_app import Driven, Start, bound


@pytest.fixture
def fox(start: Start) -> Start:
    """The red fox | sat · ran away | hid, a branch by hand, and another beginning."""
    document = Document.create(start.folder / "cat.loom", b"The red")
    document.accept(model_run(b" fox"), 7)
    fox = document.loom.head
    for run in (
        replace(model_run(b" sat"), logprobs=(-2.0,)),
        replace(model_run(b" ran", b" away"), logprobs=(-0.25, -0.25)),
    ):
        document.choose(fox)
        document.accept(run, len("The red fox"), carry=False)
    document.branches.child(fox, " slept under the moon")
    document.branches.child(ROOT, "A blue")
    document.close()
    return start


@asynccontextmanager
async def loom(
    start: Start, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[Driven, LoomScreen]]:
    async with start(size=size) as at:
        await at.press("alt+l")
        await at.until(
            lambda: isinstance(at.app.screen, LoomScreen) and at.app.screen.view.selected
        )
        screen = await at.opened(LoomScreen)
        yield at, screen


def texts(screen: LoomScreen) -> list[str]:
    return [screen.view.facts(n).text for n in range(len(screen.listing.rows))]


def shown(screen: LoomScreen) -> list[str]:
    """The lines of the view as they are drawn."""
    view = screen.view
    return [view.render_line(y).text.rstrip() for y in range(view.size.height)]


def said(screen: LoomScreen) -> str:
    """The line below the tree."""
    return str(screen.query_one("#said").render())


async def go(at: Driven, screen: LoomScreen, text: str) -> None:
    """Select the row with this text."""
    await at.press("home")
    for _ in range(texts(screen).index(text)):
        await at.press("j")
    assert screen.view.facts(screen.view.index).text == text


async def test_every_action_of_the_loom_has_a_deed_and_a_key(fox: Start) -> None:
    async with loom(fox) as (_, screen):
        assert set(screen.table) >= {one.id for one in ACTIONS if one.where == "loom"}
        assert bound(screen, screen.outline) >= set(screen.table)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 15)])
async def test_the_outline_shows_every_branch_and_the_story(
    fox: Start, size: tuple[int, int]
) -> None:
    async with loom(fox, size) as (_, screen):
        lines = shown(screen)
        assert lines[0].startswith("┃▾ The red fox")
        assert lines[2].startswith("┗")
        assert "␣ran away" in lines[2]
        assert "13.5%" in next(line for line in lines if "␣sat" in line)
        assert "you" in next(line for line in lines if "A blue" in line)


async def test_a_row_of_several_authors_names_them(start: Start) -> None:
    document = Document.create(start.folder / "cat.loom", b"The red")
    document.accept(model_run(b" fox"), 7)
    document.close()
    async with loom(start) as (_, screen):
        assert shown(screen)[0].startswith("┗  The red fox")
        assert shown(screen)[0].endswith("you + m")
        assert said(screen).startswith("you + m")


async def test_broken_characters_are_seen_and_joined_when_they_are_whole(start: Start) -> None:
    document = Document.create(start.folder / "cat.loom", b"The red")
    document.accept(model_run(b" \xf0\x9f"), 7)
    half = document.loom.head
    assert document.text == "The red ��"
    document.accept(model_run(b"\xa6\x8a", b" ran"), len(document.text))
    assert document.text == "The red 🦊 ran"
    document.branches.plant(half, [model_run(b"\xa6\x8e", b" sat")])
    document.branches.read(*document.loom.sight.unread)
    document.close()
    async with loom(start) as (at, screen):
        assert texts(screen) == ["The red ⟨f0 9f⟩", "🦊 ran", "🦎 sat"]
        await at.press("end")
        row = screen.view.selected
        assert row is not None
        assert str(path_text(screen.listing, row)) == "The red ┬1 🦎 sat"
        await at.press("escape")
        assert at.main.editor.text == "The red 🦊 ran"
        await at.press("ctrl+z", "ctrl+z")
        assert at.main.editor.text == "The red ��"


async def test_the_map_draws_the_story_in_strong_lines(fox: Start) -> None:
    async with loom(fox) as (at, screen):
        await at.press("m")
        first, second, third, *_ = shown(screen)
        assert first.startswith("━━")
        assert "┳" in first
        assert "●" in second
        assert "┣" in second
        assert "└─······" in third
        assert screen.view.selected
        await at.press("k", "m")
        assert screen.view is screen.outline
        assert screen.view.facts(screen.view.index).text == "␣sat"


async def test_a_branch_is_made_the_story_and_written_on(fox: Start) -> None:
    async with loom(fox) as (at, screen):
        await go(at, screen, "␣slept under the moon")
        await at.press("enter")
        assert at.app.screen is at.main
        assert at.story == at.main.editor.text == "The red fox slept under the moon"
        await at.press("!")
        assert at.story.endswith("moon!")
        await at.press("ctrl+z", "ctrl+z")
        assert at.story == at.main.editor.text == "The red fox ran away"


async def test_a_phrase_in_a_dead_folded_branch_is_found(fox: Start) -> None:
    async with loom(fox) as (at, screen):
        await at.press("home", "space")
        assert texts(screen) == ["The red fox", "A blue"]
        await at.press("ctrl+f", *"the moon", "enter", "escape")
        assert screen.view.facts(screen.view.index).text == "␣slept under the moon"
        assert "[the␣moon]" in said(screen).replace(" ", "␣")


async def test_deleting_says_how_to_get_back_and_undo_does(fox: Start) -> None:
    async with loom(fox) as (at, screen):
        before = texts(screen)
        await go(at, screen, "␣ran away")
        await at.press("d")
        assert "␣ran away" not in texts(screen)
        assert at.story == at.main.editor.text == "The red fox"
        assert "1 deleted, u brings back" in said(screen)
        await go(at, screen, "The red fox")
        await at.press("D")
        assert texts(screen) == ["The red fox", "A blue"]
        await at.press("u", "u")
        assert texts(screen) == before
        assert at.story == at.main.editor.text == "The red fox ran away"
        await at.press("U", "U")
        await at.press("u", "u")
        assert texts(screen) == before


async def test_marks_are_made_seen_and_undone(fox: Start) -> None:
    async with loom(fox) as (at, screen):
        await go(at, screen, "␣sat")
        await at.press("b", "4", "t", *"dark, wet", "enter")
        await at.press("o", *"try again", "ctrl+j")
        line = shown(screen)[screen.view.index]
        assert "◆ 4/5 note #dark #wet" in line
        await at.press("home", "right_square_bracket")
        assert screen.view.facts(screen.view.index).text == "␣sat"
        await at.press("u", "u", "u", "u")
        assert "◆" not in shown(screen)[1]


async def test_a_branch_is_cut_merged_moved_and_written(fox: Start) -> None:
    async with loom(fox) as (at, screen):
        await go(at, screen, "␣slept under the moon")
        await at.press("S", "left", "enter")
        tree, selected = at.session.document.loom, screen.row
        assert len(selected.ids) == 2
        assert tree.data(tree.nodes[selected.ids[0]]) == b" slept under"
        await at.press("C", "home", "enter")
        assert "␣slept" in texts(screen)
        await at.press("a", *" soundly", "ctrl+j")
        assert "␣slept soundly" in texts(screen)
        await go(at, screen, "A blue")
        await at.press("v", "home", "v")
        assert screen.listing.parents[screen.view.index] == 0
        await at.press("backspace")
        assert "A" in texts(screen)


async def test_an_alternative_is_swapped_in(fox: Start) -> None:
    async with loom(fox) as (at, screen):
        known = at.session.document.undo_log.birth(screen.loom.nodes[screen.loom.head].piece)
        other = known.alternatives[0][0][1].decode()
        await go(at, screen, "␣ran away")
        await at.press("i", "enter")
        assert at.story == at.main.editor.text == f"The red fox{other}"
        assert "␣ran away" in texts(screen)


async def test_the_map_uses_the_width(start: Start) -> None:
    """Few forks: words in the branches. Many: narrower branches, and what is out of sight named."""
    document = Document.create(start.folder / "cat.loom", b"Once upon a time")
    fork = document.loom.head
    for word in (b" a fox", b" an owl"):
        document.choose(fork)
        document.accept(model_run(word), len("Once upon a time"), carry=False)
    document.close()
    async with loom(start) as (at, screen):
        await at.press("m")
        assert shown(screen)[0].startswith("━━······ Once upon a time ")
        assert "┳" in shown(screen)[0]
        document = at.session.document
        for n in range(12):
            fork, end = document.loom.head, len(document.text)
            document.accept(model_run(b" left%d" % n), end)
            document.branches.child(fork, f" right{n}")
        screen.relist()
        await at.press("g")
        lines = [line for line in shown(screen) if line]
        assert lines[0].startswith("‹␣")
        assert any("━▃▃▃━━┳" in line for line in lines)
        assert any(line.endswith("●  ␣left11") for line in lines)
        assert all(cell_len(line) <= screen.view.size.width for line in lines)


async def test_two_branches_side_by_side(fox: Start) -> None:
    async with loom(fox) as (at, screen):
        await go(at, screen, "␣sat")
        await at.press("w")
        dialog = await at.opened(ComparisonDialog)
        await at.until(lambda: "sat" in str(dialog.query_one("VerticalScroll Static").render()))
        text = str(dialog.query_one("VerticalScroll Static").render())
        assert "The red fox" in text
        assert "ran·77.9% away·77.9%" in text
        assert "sat·13.5%" in text
        await at.press("escape")
        await go(at, screen, "The red fox")
        await at.press("w")
        await go(at, screen, "A blue")
        await at.press("w")
        assert isinstance(at.app.screen, ComparisonDialog)


async def test_continuations_that_nobody_took_fold_away_and_are_cleared(fox: Start) -> None:
    async with fox() as at:
        document = at.session.document
        document.branches.plant(document.loom.head, [model_run(b" there"), model_run(b" here")])
        await at.press("alt+l")
        screen = await at.opened(LoomScreen)
        await at.until(lambda: screen.view.selected)
        assert "␣there" not in texts(screen)
        assert "+2" in shown(screen)[screen.view.index]
        await at.press("l")
        assert texts(screen)[3:5] == ["␣there", "␣here"]
        await at.press("j", "k", "e")
        assert "1 deleted" in screen.note
        assert texts(screen)[3:5] == ["␣there", "␣slept under the moon"]
        await at.press("u")
        assert texts(screen)[3:5] == ["␣there", "␣here"]


async def test_hoist_sort_copy_and_the_path(fox: Start) -> None:
    async with loom(fox) as (at, screen):
        await go(at, screen, "The red fox")
        await at.press("z")
        assert texts(screen) == ["␣sat", "␣ran away", "␣slept under the moon"]
        await at.press("z", "s")
        assert texts(screen)[1:4] == ["␣ran away", "␣sat", "␣slept under the moon"]
        await go(at, screen, "␣sat")
        await at.press("y")
        assert at.app.clipboard == "The red fox sat"
        assert "┬2" in str(path_text(screen.listing, screen.row))
        await at.press("home")
        assert "3 branches go on, 3 more below" in str(path_text(screen.listing, screen.row))


async def test_a_loom_that_can_only_be_read_says_so(fox: Start) -> None:
    other = Document.open(fox.folder / "cat.loom")
    async with loom(fox) as (at, screen):
        assert ["Another llterm has" in notice.message for notice in at.notices] == [True]
        before = texts(screen)
        await at.press("d")
        assert texts(screen) == before
        assert any("reading only" in notice.title for notice in at.notices)
    other.close()
