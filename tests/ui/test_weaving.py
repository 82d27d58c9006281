"""Weave, choose, take, take back."""

from __future__ import annotations

import asyncio

from textual.widgets import TextArea

from llterm.backends.scripted import ScriptedBackend
from llterm.constraints.spec import choices, regex
from llterm.core.query import Backend
from llterm.errors import ModelError
from llterm.number_format import fine_percent
from llterm.ui.widgets.key_bar import KeyBar
from tests.helpers.driven_app import STORY, Progress, Start, opens


async def test_a_weave_shows_suggestions_and_the_best_as_a_ghost(start: Start) -> None:
    async with start() as at:
        await at.weave()
        row = at.main.suggestions.selected
        assert row is not None
        assert at.main.editor.ghost == at.session.ghost(row.tail)
        assert at.story == STORY, "a ghost is not in the story"
        assert "suggestions" in at.line("found")
        assert "joint" in at.line("branch")


async def test_accept_a_branch_a_word_a_token_and_undo_all(start: Start) -> None:
    async with start() as at:
        await at.weave()
        ghost = at.main.editor.ghost
        await at.press("ctrl+right")
        word = at.story
        assert word.startswith(STORY)
        assert len(word) > len(STORY)
        assert (STORY + ghost).startswith(word)
        await at.press("right")
        token = at.story
        assert len(token) > len(word)
        await at.until(lambda: at.main.editor.ghost)
        rest = at.main.editor.ghost
        await at.press("tab")
        assert at.story == token + rest
        assert at.main.editor.text == at.story
        for before in (token, word, STORY):
            await at.press("ctrl+z")
            assert at.story == at.main.editor.text == before
        for after in (word, token, token + rest):
            await at.press("ctrl+y")
            assert at.story == at.main.editor.text == after


async def test_what_is_left_of_the_tree_stays_after_an_accept(start: Start) -> None:
    async with start() as at:
        await at.weave()
        asked = at.session.source.spent  # type: ignore[union-attr]
        await at.press("right")
        assert at.main.suggestions.rows
        assert not at.session.stale
        assert at.session.source.spent == asked  # type: ignore[union-attr]


async def test_pick_by_number_in_the_tree(start: Start) -> None:
    async with start() as at:
        await at.weave()
        await at.press("ctrl+o")
        assert at.main.suggestions.has_focus
        hints = {hint.key for hint in at.main.query_one(KeyBar).hints}
        assert {"w", "⏎", "e"} <= hints, "the footer follows the focus"
        third = at.main.suggestions.rows[2]
        adds = at.session.ghost(third.tail)
        await at.press("3")
        assert at.story == STORY + adds


async def test_help_stays_in_the_footer_of_a_narrow_terminal(start: Start) -> None:
    async with start(size=(40, 15)) as at:
        await at.weave()
        shown = at.main.query_one(KeyBar).render_line(0).text
        assert shown.startswith(" ^J weave")
        assert shown.rstrip().endswith("F1 help")


async def test_enter_takes_the_path_up_to_the_selected_row(start: Start) -> None:
    async with start() as at:
        await at.weave()
        await at.press("ctrl+o", "j", "k", "l")
        row = at.main.suggestions.selected
        assert row is not None
        assert row.depth == 1
        adds = at.session.ghost(row.tail)
        await at.press("enter")
        assert at.story == STORY + adds


async def test_typing_makes_suggestions_stale_and_undo_brings_them_back(start: Start) -> None:
    async with start() as at:
        await at.weave()
        ghost = at.main.editor.ghost
        await at.press("x", "y")
        assert at.story == STORY + "xy"
        await at.until(lambda: "stale" in at.line("found"))
        assert at.main.editor.ghost == ""
        await at.press("tab")
        assert at.story == STORY + "xy", "a stale suggestion is not taken"
        await at.press("ctrl+z")
        assert at.story == STORY
        await at.until(lambda: at.main.editor.ghost == ghost)


async def test_the_cutoff_prunes_at_once_without_asking_the_model(start: Start) -> None:
    async with start() as at:
        await at.weave()
        rows, asked = len(at.main.suggestions.rows), at.session.source.spent  # type: ignore[union-attr]
        await at.press("ctrl+o", "+", "+", "+")
        assert at.session.document.rules.cutoff == 0.3
        await at.until(lambda: len(at.main.suggestions.rows) < rows)
        assert at.session.source.spent == asked  # type: ignore[union-attr]
        await at.press("-", "-", "-")
        await at.until(lambda: len(at.main.suggestions.rows) == rows)


async def test_edit_a_suggestion_before_taking_it(start: Start) -> None:
    async with start() as at:
        await at.weave()
        ghost = at.main.editor.ghost
        await at.press("f3", "!", "?", "ctrl+j")
        assert at.story == STORY + ghost + "!?"
        await at.press("ctrl+z")
        assert at.story == STORY


async def test_grow_goes_on_from_a_leaf(start: Start) -> None:
    async with start() as at:
        await at.weave()
        await at.press("ctrl+o", "G")
        leaf = at.main.suggestions.selected
        assert leaf is not None
        assert not leaf.branch.children
        await at.press("g")

        def grown() -> bool:
            size = len(leaf.tail)
            tails = (row.tail for row in at.main.suggestions.rows)
            return any(len(tail) > size and tail[:size] == leaf.tail for tail in tails)

        await at.until(grown)
        await at.until(lambda: not at.session.weaving and at.told)
        at.main.action_run("weave.grow")
        await at.until(lambda: "grown already" in at.line("branch"))


async def test_stop_keeps_what_was_found_and_the_story_stays_live(start: Start) -> None:
    gate = asyncio.Semaphore(3)

    start.opening = opens(lambda: ScriptedBackend(pace=lambda: _passes(gate)))
    async with start() as at:
        await at.press("ctrl+j")
        await at.until(lambda: at.session.weaving and gate.locked())
        assert "stop" in [hint.word for hint in at.main.query_one(KeyBar).hints]
        await at.press("ctrl+g")
        assert not at.session.weaving
        await at.press("a")
        assert at.story == STORY + "a"


async def test_keys_at_the_old_tree_while_a_new_weave_has_nothing_yet(start: Start) -> None:
    """The tree on screen is an earlier weave's until the new one is first drawn."""
    gate = asyncio.Semaphore(100)

    start.opening = opens(lambda: ScriptedBackend(pace=lambda: _passes(gate)))
    async with start() as at:
        await at.weave()
        while not gate.locked():
            await gate.acquire()
        await at.press("x")
        assert at.session.stale
        at.main.action_run("weave.start")
        assert at.main.suggestions.rows
        assert at.main.row is None
        at.main.suggestions.move(1)
        for action in ("suggestion.accept", "suggestion.accept_word", "suggestion.edit"):
            assert not at.main.check_action("run", (action,))
        await at.press("right", "tab")
        assert at.story == STORY + "x"
        gate.release()


async def _passes(gate: asyncio.Semaphore) -> None:
    await gate.acquire()


async def test_the_story_is_live_while_the_model_loads_and_after_it_failed(start: Start) -> None:
    loading, fail = asyncio.Event(), asyncio.Event()

    async def opening(progress: Progress) -> Backend:
        progress(0.43)
        loading.set()
        await fail.wait()
        raise ModelError("The model cannot be loaded", "It is cut short.", "Fetch it again.")

    start.opening = opening
    async with start(ready=False) as at:
        await at.until(lambda: "43%" in at.line("model"))
        await at.press("!")
        assert at.story == STORY + "!"
        await at.press("ctrl+j")
        assert any("model" in note.title.lower() for note in at.notices)
        fail.set()
        await at.until(lambda: "Fetch it again." in at.line("invitation"))
        await at.press("?")
        assert at.story == STORY + "!?"


async def test_an_empty_story_offers_beginnings(start: Start) -> None:
    async with start("") as at:
        await at.press("ctrl+j")
        await at.press("2")
        assert at.story.startswith("There was once a king")
        await at.until(lambda: at.main.suggestions.rows)
        await at.press("ctrl+z")
        assert at.story == ""


async def test_a_sole_suggestion_is_taken_only_when_wanted(start: Start) -> None:
    from dataclasses import replace

    start.rules = replace(start.rules, split_limit=1)
    async with start() as at:
        await at.weave()
        assert at.story == STORY
        at.main.options.ui = replace(at.main.options.ui, accept_sole=True)
        await at.press("ctrl+j")
        await at.until(lambda: len(at.story) > len(STORY))


async def test_the_selection_stays_on_its_branch_while_others_arrive(start: Start) -> None:
    gate = asyncio.Semaphore(2)

    start.opening = opens(lambda: ScriptedBackend(pace=lambda: _passes(gate)))
    async with start() as at:
        await at.press("ctrl+j")
        await at.until(lambda: gate.locked())
        for _ in range(40):
            gate.release()
            await at.pilot.pause()
            if len(at.main.suggestions.rows) > 2:
                break
        await at.press("ctrl+n", "ctrl+n")
        row = at.main.suggestions.selected
        assert row is not None
        for _ in range(200):
            gate.release()
        await at.until(lambda: not at.session.weaving)
        now = at.main.suggestions.selected
        assert now is not None
        size = min(len(now.tail), len(row.tail))
        assert now.tail[:size] == row.tail[:size]


async def test_suggestions_fit_a_constraint_and_it_goes_away_again(start: Start) -> None:
    async with start() as at:
        await at.press("ctrl+l")
        await at.press(*" sat", "enter", *" slept", "ctrl+j")
        await at.until(lambda: at.main.suggestions.rows and not at.session.weaving)
        assert at.session.view is not None
        texts = {suggestion.data for suggestion in at.session.view.suggestions}
        assert texts
        assert texts == {b" sat", b" slept"}
        assert "2 choices" in at.line("found")
        await at.press("ctrl+l", "f5")
        await at.press("ctrl+a", "(", "ctrl+j")
        dialog = at.app.screen
        await at.until(lambda: "pattern" in str(dialog.query_one("#told").render()))
        assert "(" in dialog.query_one(TextArea).text, "it is there to be mended"
        assert at.session.constraint is not None, "the former one stays"
        dialog.query_one(TextArea).text = " [a-z]+"
        await at.press("ctrl+j")
        await at.until(lambda: dialog is not at.app.screen and not at.session.weaving)
        assert at.session.constraint.kind == "regex"
        await at.until(lambda: "given the pattern" in at.line("found"))
        await at.press("ctrl+l", *["backspace"] * 20, "ctrl+j")
        await at.until(lambda: at.session.constraint is None and not at.session.weaving)
        assert {suggestion.data for suggestion in at.session.view.suggestions} - texts


async def test_the_line_says_what_mass_a_pattern_takes(start: Start) -> None:
    start.constraint = regex(" (sat by the lamp|slept)")
    async with start(size=(140, 40)) as at:
        await at.weave()
        shown = at.session.shown
        assert shown is not None
        permitted = shown.weave.facts[()].permitted
        assert f"it takes {fine_percent(1 - permitted)}" in at.line("found")


async def test_a_typed_constraint_holds_from_the_first_weave(start: Start) -> None:
    start.constraint = choices([" sat by the lamp", " slept"])
    start.auto_weave = True
    async with start() as at:
        await at.until(lambda: not at.session.weaving and at.main.suggestions.rows)
        view = at.session.view
        assert view is not None
        assert {one.data for one in view.suggestions} == {b" sat by the lamp", b" slept"}
        assert "2 choices" in at.line("found")


async def test_five_insertions_into_a_finished_page_keep_every_byte_of_the_rest(
    start: Start,
) -> None:
    page = "\n".join(f"{STORY} sat by lamp {n}. " for n in range(6)) + " é 日本 \n"
    async with start(page) as at:
        pages = [page]
        for number, keys in enumerate(("tab", "ctrl+right", "right", "tab", "tab")):
            place = at.story.index(f" sat by lamp {number}.")
            rest = at.story[place:]
            at.main.editor.go_to(place)
            await at.weave()
            await at.press(keys)
            assert at.story.endswith(rest)
            assert len(at.story) > len(pages[-1])
            assert at.main.editor.text == at.story
            assert at.session.document.cursor == len(at.story) - len(rest)
            assert "after it kept" in at.line("branch")
            pages.append(at.story)
        for before in pages[-2::-1]:
            await at.press("ctrl+z")
            assert at.story == at.main.editor.text == before


async def test_going_on_from_the_middle_says_where_the_rest_is(start: Start) -> None:
    page = STORY + " slept. It woke."
    async with start(page) as at:
        at.main.editor.go_to(len(STORY))
        await at.weave()
        await at.press("shift+tab")
        assert "woke" not in at.story
        assert len(at.story) > len(STORY)
        assert "the rest stays as a branch" in at.main.note
        await at.press("ctrl+z")
        assert at.story == page
        at.main.editor.go_to(len(STORY))
        await at.press("escape", "alt+h")
        assert at.story == STORY
        await at.press("ctrl+z")
        assert at.story == page


async def test_a_key_that_grows_nothing_says_why(start: Start) -> None:
    async with start() as at:
        await at.press("f6")
        assert "nothing to grow" in at.line("branch")
        await at.weave()
        await at.press("x", "f6")
        assert "nothing to grow" in at.line("branch")
        assert at.story == STORY + "x"


async def test_the_footer_offers_what_the_ghost_gives_after_it_was_waved_away(start: Start) -> None:
    async with start() as at:
        await at.weave()
        await at.press("escape")
        assert not at.main.editor.ghost
        await at.press("ctrl+n")
        await at.until(lambda: at.main.editor.ghost)
        bar = at.main.query_one("#keys", KeyBar)
        assert any(hint.id == "suggestion.accept" and hint.ready for hint in bar.hints)


async def test_the_highlighted_row_has_a_mark_wherever_the_focus_is(start: Start) -> None:
    """A background alone is not seen on terminals of 16 colours."""
    async with start() as at:
        await at.weave()
        await at.press("ctrl+n")
        assert at.main.editor.has_focus
        lines = [at.main.suggestions.render_line(y).text for y in range(3)]
        assert [line[1] for line in lines] == [" ", "›", " "]


async def test_undo_of_an_accept_highlights_the_row_that_was_taken(start: Start) -> None:
    async with start() as at:
        await at.weave()
        for key in ("tab", "ctrl+right"):
            at.main.suggestions.select(2)
            await at.press("ctrl+n")
            row = at.main.row
            assert row is not None
            at.main.action_run("suggestion.accept" if key == "tab" else "suggestion.accept_word")
            await at.until(lambda: at.told)
            at.main.action_run("edit.undo")
            await at.until(lambda: at.told and not at.session.stale)
            assert at.main.row is not None
            assert at.main.row.tail == row.tail
