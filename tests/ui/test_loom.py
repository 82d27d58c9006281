"""The loom screen, by keys: look through every branch, change the tree, undo, search, compare."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from llterm.core.loom import ROOT
from llterm.keymap import ACTIONS
from llterm.session.document import Document
from llterm.ui.screens.comparison import Comparison
from llterm.ui.screens.loom import LoomScreen
from llterm.ui.widgets.path import path_text
from tests.session.test_document import model_run
from tests.ui.conftest import Driven, Start


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
        document.accept(run, len("The red fox"))
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
        screen = at.app.screen
        assert isinstance(screen, LoomScreen)
        yield at, screen


def texts(screen: LoomScreen) -> list[str]:
    return [screen.view.facts(n).text for n in range(len(screen.listing.rows))]


def shown(screen: LoomScreen) -> list[str]:
    """The lines of the view as they are drawn."""
    view = screen.view
    return [view.render_line(y).text.rstrip() for y in range(view.size.height)]


async def go(at: Driven, screen: LoomScreen, text: str) -> None:
    """Select the row with this text."""
    await at.press("home")
    for _ in range(texts(screen).index(text)):
        await at.press("j")
    assert screen.view.facts(screen.view.index).text == text


async def test_every_action_of_the_loom_has_a_deed_and_a_key(fox: Start) -> None:
    async with loom(fox) as (_, screen):
        assert set(screen.table) >= {one.id for one in ACTIONS if one.where == "loom"}
        bound = {b.id for node in (screen, screen.outline) for _, b in node._bindings}
        assert bound >= set(screen.table)


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 15)])
async def test_the_outline_shows_every_branch_and_the_story(
    fox: Start, size: tuple[int, int]
) -> None:
    async with loom(fox, size) as (_, screen):
        lines = shown(screen)
        assert lines[0].startswith("┃▾ The red fox")
        assert lines[2].startswith("┗    ␣ran away") or "␣ran away" in lines[2]
        assert "13.5%" in next(line for line in lines if "␣sat" in line)
        assert "you" in next(line for line in lines if "A blue" in line)
