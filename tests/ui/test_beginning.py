"""Beginnings in the app: one's own starting stories, an empty page, suggestions put away."""

from __future__ import annotations

from pathlib import Path

from textual.widgets import Input, OptionList

from llterm.core.loom_tree import ROOT
from llterm.session import stories
from llterm.session.stories import STORIES
from llterm.ui.dialogs.looms_dialog import LoomsDialog
from llterm.ui.dialogs.stories_dialog import StoriesDialog
from tests.helpers.driven_app import STORY, Start, prompts


def titles(options: OptionList) -> list[str]:
    return [text.splitlines()[0] for text in prompts(options)]


async def test_the_story_is_kept_and_another_begins_with_it(start: Start) -> None:
    async with start() as at:
        await at.press("alt+k")
        entry = at.app.screen.query_one(Input)
        assert entry.value == "Once upon a time a"
        entry.value = "The lamp maker"
        await at.press("enter")
        kept = stories.starting_stories()[0]
        assert (kept.title, kept.text) == ("The lamp maker", STORY)
        await at.press("alt+a", "ctrl+right_square_bracket", "1")
        assert at.story == STORY
        assert len(at.session.document.loom.children[ROOT]) == 2


async def test_a_selection_is_kept_alone(start: Start) -> None:
    async with start("Long ago 🦊 there was a mill") as at:
        at.main.editor.selection = type(at.main.editor.selection)((0, 5), (0, 10))
        await at.press("alt+k", "enter")
        kept = stories.starting_stories()[0]
        assert (kept.title, kept.text) == ("ago 🦊", "ago 🦊")
        await at.press("alt+k", "enter")
        await at.until(lambda: at.notices)
        assert len(stories.starting_stories()) == 1 + len(STORIES)


async def test_ones_own_are_renamed_deleted_and_brought_back(start: Start) -> None:
    stories.keep("mill", b"The mill")
    async with start() as at:
        await at.press("ctrl+right_square_bracket")
        assert isinstance(at.app.screen, StoriesDialog)
        options = at.app.screen.query_one(OptionList)
        assert titles(options)[0] == "1  mill  yours"
        await at.press("r", "end", *" two", "enter")
        assert titles(options)[0] == "1  mill two  yours"
        await at.press("d")
        assert len(titles(options)) == len(STORIES)
        await at.press("d")
        assert len(titles(options)) == len(STORIES)
        await at.press("u")
        assert titles(options)[0] == "1  mill two  yours"
        await at.press("enter")
        assert at.story == f"{STORY}\n\nThe mill"


async def test_the_list_of_looms_has_them_too(start: Start, home: Path) -> None:
    stories.keep("mill", b"The mill")
    start.offer = True
    async with start() as at:
        await at.opened(LoomsDialog)
        options = at.app.screen.query_one(OptionList)
        await at.until(lambda: options.option_count)
        assert titles(options)[0] == "  mill  a starting story of yours"
        await at.press("d")
        await at.until(lambda: options.option_count == len(STORIES))
        await at.press("u")
        await at.until(lambda: options.option_count == 1 + len(STORIES))
        await at.press("r", "end", "s", "enter")
        await at.until(lambda: "mills" in titles(options)[0])
        await at.press("home", "enter")
        assert at.app.following is not None
        assert at.app.following.text == b"The mill"


async def test_a_cleared_page_is_one_undo_away(start: Start) -> None:
    async with start() as at:
        await at.press("!")
        await at.press("alt+a")
        assert at.story == at.main.editor.text == ""
        await at.press("ctrl+z")
        assert at.story == at.main.editor.text == f"{STORY}!"
        await at.press("ctrl+y", "N", "e", "w")
        assert at.story == "New"
        loom = at.session.document.loom
        assert len(loom.children[ROOT]) == 2


async def test_suggestions_are_put_away_and_brought_back_without_work(start: Start) -> None:
    async with start() as at:
        await at.weave()
        rows = len(at.main.suggestions.rows)
        spent = at.session.figures.tokens
        await at.press("ctrl+o", "X")
        assert not at.main.suggestions.rows
        assert at.story == STORY
        await at.press("ctrl+j")
        await at.until(lambda: at.main.suggestions.rows)
        assert len(at.main.suggestions.rows) == rows
        assert at.session.figures.tokens == spent
