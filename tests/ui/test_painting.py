"""How much is painted: counted, not timed."""

from __future__ import annotations

from textual.app import App
from textual.geometry import Region
from textual.screen import Screen
from textual.widgets import TextArea

from llterm.ui.messages import SessionChanged, StoryChanged
from tests.helpers.driven_app import Driven, Start

LONG = "The cat counted the lamps, and every evening there was one lamp more. " * 1300


def dirty(at: Driven) -> list[Region]:
    """Where the editor is asked to paint from now on."""
    regions: list[Region] = []
    editor = at.main.editor
    mark = editor._set_dirty

    def spy(*asked: Region) -> None:
        regions.extend(asked or [Region(0, 0, *editor.size)])
        mark(*asked)

    editor._set_dirty = spy  # type: ignore[method-assign]
    return regions


async def test_a_letter_paints_the_lines_that_change(start: Start) -> None:
    async with start(LONG, size=(120, 40)) as at:
        await at.press("x")
        regions = dirty(at)
        await at.press("y")
        assert 0 < sum(region.height for region in regions) <= 2


async def test_going_through_suggestions_paints_a_few_lines(start: Start) -> None:
    async with start(LONG, size=(120, 40)) as at:
        await at.weave()
        await at.press("ctrl+n")
        regions = dirty(at)
        await at.press("ctrl+n")
        assert sum(region.height for region in regions) <= 8


async def test_changes_reach_the_screen_at_most_ten_times_a_second(start: Start) -> None:
    async with start() as at:
        heard = []
        show = at.main.show_all

        def count() -> None:
            heard.append(1)
            show()

        at.main.show_all = count  # type: ignore[method-assign]
        for n in range(500):
            at.session.loading(n / 500)
            if n % 50 == 0:
                await at.pilot.pause()
        assert len(heard) <= 12


def test_messages_that_come_in_bursts_replace_each_other() -> None:
    assert SessionChanged().can_replace(SessionChanged())
    assert not SessionChanged().can_replace(StoryChanged())


async def test_what_is_used_of_textuals_inside_is_there(start: Start) -> None:
    """An upgrade that takes these away must fail here, not on a person's screen."""
    for name in ("_refresh_size", "_refresh_scrollbars", "_set_dirty", "wrap_width"):
        assert hasattr(TextArea, name), name
    assert "set_focus" in vars(Screen)
    assert "_fatal_error" in vars(App)
    async with start() as at:
        assert at.main.editor.wrapped_document._offset_to_line_info
        assert at.main.editor._bindings.key_to_bindings["ctrl+w"]


async def test_a_ghost_before_a_long_text_is_wrapped_as_far_as_it_is_seen(start: Start) -> None:
    async with start(LONG, size=(120, 40)) as at:
        editor = at.main.editor
        editor.go_to(len(LONG) // 2)
        await at.pilot.pause()
        height = editor.virtual_size.height
        editor.show_ghost(" and so on" * 20)
        drawn = editor._drawn()
        assert drawn is not None
        assert 0 < drawn.more < 10
        assert len(drawn.rows) <= drawn.more + editor.size.height + 1
        assert editor.virtual_size.height == height + drawn.more
        await at.press("ctrl+end")
        assert editor.virtual_size.height == height
