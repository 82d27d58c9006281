"""A model on a server in the app: what it can tell, how much it is asked, what it was asked."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.widgets import OptionList

from benchmarks.server import server as server_of
from llterm.backends.remote.server_connection import connect
from llterm.config import Config, ModelConfig
from llterm.config.server_settings import ServerSettings
from llterm.core.query import Backend
from llterm.ui.dialogs.info_dialogs import ServerDialog
from tests.helpers.bundled_model import BUNDLED
from tests.helpers.driven_app import Driven, Start, prompts
from tests.helpers.fake_servers import LlamaServer, OllamaServer, VllmServer
from tests.helpers.little_model import Server

STORY = "Once the fox"


def served(start: Start, server: Server) -> Start:
    async def opening(progress: Callable[[float], None]) -> Backend:
        return await connect("tiny", server, ServerSettings(("http://server",)), fresh=True)

    start.opening = opening
    return start


def on_screen(at: Driven) -> str:
    return "\n".join(str(one.render()) for one in at.app.screen.query("Static"))


async def test_what_a_server_can_tell_is_shown(start: Start) -> None:
    async with served(start, OllamaServer())(STORY, size=(100, 40)) as at:
        await at.press("alt+r")
        assert isinstance(at.app.screen, ServerDialog)
        shown = on_screen(at)
        assert "no heat: this server does not score given text" in shown
        assert "20 at most" in shown
        assert "http://server" in shown
        assert " requests; " in shown
        await at.press("escape")
        assert len(at.app.screen_stack) == 1


async def test_parallelism_is_set_by_key_and_shown(start: Start) -> None:
    server = LlamaServer()
    async with served(start, server)(STORY) as at:
        before = server.parallel
        await at.press("alt+u")
        assert server.parallel == before + 1
        assert at.line("branch") == f"{before + 1} requests at once"
        for _ in range(before + 3):
            await at.press("alt+d")
        assert server.parallel == 1
        assert at.line("branch") == "1 request at once"


async def test_in_process_there_is_nothing_of_it(start: Start) -> None:
    async with start(STORY) as at:
        for id in ("server.show", "server.more", "server.fewer"):
            assert not at.main.table[id].applies()
        await at.press("alt+r", "alt+u")
        assert at.app.screen is at.main
        assert at.line("branch") == ""


async def test_what_a_server_cannot_is_told_where_it_matters(start: Start) -> None:
    async with served(start, OllamaServer())(STORY, size=(120, 40)) as at:
        await at.weave()
        await at.until(lambda: "no healing: its server cannot" in at.line("found"))
        await at.press("tab")
        await at.weave()
        assert "no healing" not in at.line("found")
        await at.press("f4")
        await at.until(lambda: at.session.reader.places)
        assert "no heat: this server does not score given text" in str(at.main.heat.render_line(0))


async def test_a_space_at_the_end_is_told_each_time(start: Start) -> None:
    async with served(start, OllamaServer())(STORY + " ", size=(120, 40)) as at:
        for _ in range(2):
            await at.weave()
            await at.until(lambda: "the space at the end is not healed" in at.line("found"))
            await at.press("space")


async def test_the_counter_is_told_with_the_words(start: Start) -> None:
    async with served(start, LlamaServer())(STORY) as at:
        await at.weave()
        await at.press("f11")
        await at.until(lambda: at.notices)
        (counts,) = [one.message for one in at.notices]
        assert "3 words" in counts
        assert "tiny: " in counts
        assert " requests; " in counts


@pytest.mark.server
async def test_a_server_is_picked_in_mid_story(start: Start) -> None:
    """A real one: what it has is told below the list, and it takes the other model's place."""
    with server_of(BUNDLED, 1) as (host, port):
        settings = ServerSettings((f"http://{host}:{port}",))
        start.config = Config(models={"near": ModelConfig(server=settings)})
        async with start(STORY, size=(100, 40)) as at:
            await at.weave()
            await at.press("alt+m")
            options = at.app.screen.query_one(OptionList)
            await at.until(lambda: options.option_count)
            lines = prompts(options)
            options.highlighted = next(n for n, line in enumerate(lines) if " near " in line)
            await at.until(lambda: "has " in on_screen(at))
            await at.press("enter")
            await at.until(lambda: "near" in at.line("model"))
            assert at.story == STORY
            await at.until(lambda: "another model" in at.line("found"))
            await at.press("ctrl+j")
            await at.until(lambda: not at.session.weaving and not at.session.stale)
            await at.until(lambda: "suggestion" in at.line("found"))


@pytest.mark.parametrize("kind", [LlamaServer, VllmServer], ids=lambda kind: kind.__name__)
async def test_suggestions_come_back_at_the_next_start_without_a_request(
    start: Start, kind: type[Server]
) -> None:
    """Though its tokenizer would have to be asked for the story's tokens."""
    async with served(start, kind())(STORY) as at:
        await at.weave()
        assert at.session.view is not None
        texts = [suggestion.data for suggestion in at.session.view.suggestions]
    server = kind()
    async with served(start, server)() as at:
        await at.until(lambda: at.session.view)
        assert at.session.view is not None
        assert at.story == STORY
        assert [suggestion.data for suggestion in at.session.view.suggestions] == texts
        assert not at.session.stale
        assert STORY not in [body.get("content", body.get("prompt")) for _, body in server.requests]


@pytest.mark.parametrize("kind", [LlamaServer, VllmServer], ids=lambda kind: kind.__name__)
async def test_sampled_lines_come_back_at_the_next_start(start: Start, kind: type[Server]) -> None:
    def lines(at: Driven) -> list[bytes]:
        view = at.session.view
        return [one.data for one in view.branches if one.sampled] if view is not None else []

    async with served(start, kind())(STORY) as at:
        await at.press("alt+s")
        await at.until(lambda: lines(at) and not at.session.samples.running)
        drawn = lines(at)
    async with served(start, kind())() as at:
        await at.until(lambda: lines(at) and at.main.suggestions.rows)
        assert lines(at) == drawn
        assert not at.session.stale
        assert at.session.readings_of(at.main.suggestions.rows[0].tail)[0].top
        await at.press("tab")
        assert at.story == STORY + drawn[0].decode()
