"""The ghost in the middle of a story: before the text that follows, all of which can be seen."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.events import MouseDown

from llterm.ui.weave.ghost_rows import ghost_rows
from tests.helpers.driven_app import STORY, Driven, Start

SIGNS = st.text("ab  日é\n", max_size=40)
LINES = st.text("ab  日é", max_size=60)
PAGE = (
    "The cat sat by the river and counted all the lamps of the village, one after the other.\n"
    "日本語の長い文章がここに続きます、とても静かな夜でした and a lamp went out.\n"
    "\tSo it slept."
)


def rows_of(at: Driven) -> list[str]:
    """The rows of the story's pane, as they are drawn."""
    editor = at.main.editor
    return [
        "".join(segment.text for segment in editor.render_line(y)).rstrip()
        for y in range(editor.size.height)
    ]


def place_of(at: Driven, text: str) -> tuple[int, int]:
    """The cell of the story's pane in which the first such text begins, as it is drawn."""
    y, row = next((y, row) for y, row in enumerate(rows_of(at)) if text in row)
    gutter = at.main.editor.gutter
    return cell_len(row[: row.index(text)]) + gutter.left, y + gutter.top


def clicked(at: Driven, text: str) -> str:
    """The story from where a click on this means."""
    x, y = place_of(at, text)
    click = MouseDown(at.main.editor, x, y, 0, 0, 1, shift=False, meta=False, ctrl=False)
    place = at.main.editor.get_target_document_location(click)
    return at.main.editor.get_text_range(place, at.main.editor.document.end)


def bare(text: str) -> str:
    """Without what wrapping hides or adds."""
    return "".join(text.split())


@given(SIGNS, LINES, st.integers(0, 20), st.integers(2, 20))
def test_ghost_and_rest_lose_nothing_and_fit(ghost: str, rest: str, x: int, width: int) -> None:
    rows = ghost_rows(ghost, rest, min(x, width), width)
    assert "".join(row.ghost for row in rows) == ghost.replace("\n", "")
    assert "".join(rest[row.start : row.stop] for row in rows) == rest
    seen = [row for row in rows if row.start < row.stop]
    assert all(not row.ghost for row in seen[1:]), "no ghost after the text that follows"
    for number, row in enumerate(rows):
        room = width if number else width - min(x, width)
        line = (row.ghost + rest[row.start : row.stop]).rstrip(" ")
        assert cell_len(line) <= max(room, 0)


async def test_the_ghost_stands_before_what_follows_as_it_will_stand_there(start: Start) -> None:
    async with start(PAGE, size=(60, 15)) as at:
        editor = at.main.editor
        for size in ((60, 15), (80, 24), (120, 40)):
            editor.show_ghost(" a ghost that is there while the terminal grows")
            await at.pilot.resize_terminal(*size)
            await at.pilot.pause()
            drawn = bare("".join(rows_of(at)))
            assert drawn in bare(editor.text[: editor.offset_of_cursor]) + bare(
                editor.ghost + editor.text[editor.offset_of_cursor :]
            )
            for place in ("counted", "文章がここ", " and a lamp", "So it"):
                before, _, after = PAGE.partition(place)
                editor.go_to(len(before))
                await at.pilot.pause()
                without = rows_of(at)
                assert bare("".join(without)) in bare(PAGE)
                for ghost in (" the", "日本 ", "\n", "a\n日", " and again" * 9 + "\n"):
                    editor.show_ghost(ghost)
                    drawn = bare("".join(rows_of(at)))
                    assert drawn in bare(before + ghost + place + after)
                    assert size[0] == 60 or bare(ghost + place) in drawn
                editor.show_ghost("")
                await at.pilot.pause()
                assert size[0] == 60 or rows_of(at) == without, "it leaves no trace"


async def test_a_click_means_what_is_drawn_there(start: Start) -> None:
    async with start(PAGE, size=(80, 24)) as at:
        editor = at.main.editor
        for place, target in (
            ("counted", "village"),
            ("counted", "slept"),
            ("counted", "cat"),
            ("and a lamp", "went"),
            ("So it", "slept"),
        ):
            editor.go_to(PAGE.index(place))
            await at.pilot.pause()
            editor.show_ghost(" 日本 that was never there at all\nand again ")
            assert clicked(at, target) == PAGE[PAGE.index(target) :]
        editor.show_ghost("GHOST ")
        assert clicked(at, "OST") == "So it slept.", "on a ghost it means the cursor's place"


async def test_a_click_behind_a_ghost_goes_to_what_was_clicked(start: Start) -> None:
    page = STORY + " slept."
    async with start(page) as at:
        at.main.editor.go_to(len(STORY))
        await at.weave()
        assert at.main.editor.ghost
        await at.pilot.click("#story", offset=place_of(at, "slept"))
        assert at.main.editor.offset_of_cursor == page.index("slept")


async def test_no_ghost_over_a_selection_and_none_where_the_cursor_left(start: Start) -> None:
    page = STORY + " slept."
    async with start(page) as at:
        at.main.editor.go_to(len(STORY))
        await at.weave()
        assert at.main.editor.ghost
        await at.press("shift+right")
        assert bare("".join(rows_of(at))) == bare(page)
        await at.press("left", "left")
        assert bare("".join(rows_of(at))) == bare(page)
        assert at.story == page


async def test_without_text_after_the_cursor_nothing_is_new(start: Start) -> None:
    async with start(size=(40, 10)) as at:
        await at.weave()
        await at.press("tab")
        assert "kept" not in at.main.note
        assert "stays" not in at.main.note
        assert at.story.startswith(STORY)


async def test_a_low_window_says_what_became_of_the_text_that_follows(start: Start) -> None:
    page = STORY + " slept. It woke."
    async with start(page, size=(60, 15)) as at:
        for key, said in (("tab", "3 words after it kept"), ("shift+tab", "stays as a branch")):
            at.main.editor.go_to(len(STORY))
            await at.weave()
            await at.press(key)
            assert said in at.line("found")
            at.main.note = ""
            at.main.show_note()
            assert "suggestions" in at.line("found")
            await at.press("ctrl+z")
            assert at.story == page
