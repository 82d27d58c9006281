"""What the model sees of a story, in the title, on the page and in the count."""

from __future__ import annotations

import re
from dataclasses import replace

from llterm.backends.scripted import ScriptedBackend
from llterm.core.query import Backend
from llterm.session.reader import story_prompt
from tests.helpers.driven_app import Progress, Start, drawn

LONG = "The cat counted the lamps, and every evening there was one lamp more. " * 60


async def small(progress: Progress) -> Backend:
    """A model that sees little."""
    backend = ScriptedBackend()
    backend.capabilities = replace(backend.capabilities, context=256)
    return backend


async def test_a_long_story_has_a_mark_and_says_how_much_is_seen(start: Start) -> None:
    start.opening = small
    async with start(LONG) as at:
        await at.weave()
        figures = at.session.figures
        assert figures.sight is not None
        assert figures.sight.dropped > 0
        assert "the last" in at.line("model")
        mark = at.main.editor.unseen
        assert mark == at.main.editor.location(figures.mark) > (0, 0)
        await at.press("x")
        await at.until(lambda: at.session.stale)
        assert at.session.figures.mark == figures.mark, "what stands before it is the same"
        assert at.session.figures.sight is None, "of this text it is not known yet"
        await at.press("f11")
        await at.until(lambda: at.notices)
        (counts,) = [one.message for one in at.notices]
        whole = await story_prompt(at.session.document, at.session.model)
        assert f"of {whole.sight.story:,} tokens" in counts
        assert whole.sight.story > figures.sight.story


async def test_a_text_that_is_gone_leaves_no_figures_behind(start: Start) -> None:
    start.opening = small
    async with start() as at:
        at.main.editor.insert(LONG)
        await at.until(lambda: LONG in at.story)
        await at.weave()
        assert at.session.figures.mark > 0
        await at.press("ctrl+z")
        await at.until(lambda: at.told and "sees 256 tokens" in at.line("model"))
        assert at.session.figures.mark == 0


async def test_memory_counts(start: Start) -> None:
    start.opening = small
    async with start() as at:
        at.session.set_prefix("The people who live by the sea.")
        await at.weave()
        assert re.search(r"· memory [1-9]\d* ·", at.line("name"))


async def test_a_long_model_name_leaves_room_for_the_story_and_ends_in_an_ellipsis(
    start: Start,
) -> None:
    async with start(size=(60, 15)) as at:
        at.main.options.launch = replace(at.main.options.launch, path=at.session.document.path)
        at.main.model_name = "A model of a long name, instructed, " * 3
        at.main.show_all()
        await at.pilot.pause()
        title = drawn(at.main)[0]
        assert re.search(r"cat\.loom .*\S  ?A model.*…", title)
