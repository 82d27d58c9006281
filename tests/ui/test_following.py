"""A loom that another llterm writes, in the app: it is shown as it grows, and taken over."""

from __future__ import annotations

from pathlib import Path

from llterm.session.document import Document
from llterm.ui.loom.loom_screen import LoomScreen
from tests.helpers.document_edits import model_run
from tests.helpers.driven_app import STORY, Start, shows_story


async def test_what_another_llterm_writes_is_shown_and_a_key_takes_over(
    start: Start, home: Path
) -> None:
    writer = Document.create(home / "cat.loom", STORY.encode())
    async with start() as at:
        assert "read-only" in at.line("name")
        writer.accept(model_run(b" slept", b" on"), len(STORY))
        await at.until(lambda: at.story == STORY + " slept on" and shows_story(at))
        assert at.session.document.cursor == len(at.story)
        await at.press("alt+t")
        await at.until(lambda: any("cannot be written" in told.title for told in at.notices))
        await at.press("alt+l")
        await at.until(lambda: isinstance(at.app.screen, LoomScreen))
        screen = at.app.screen
        assert isinstance(screen, LoomScreen)
        writer.branches.child(writer.loom.head, " grown")
        await at.until(lambda: screen.listing.outline.below(1) == 3)
        await at.press("escape")
        writer.undo()
        writer.close()
        await at.until(lambda: len(at.session.document.loom.nodes) == 2)
        await at.press("alt+t", "end", "x")
        await at.until(lambda: at.story == STORY + " slept onx" and shows_story(at))
        assert "read-only" not in at.line("name")
    again = Document.open(home / "cat.loom")
    assert again.text == STORY + " slept onx"
    again.close()
