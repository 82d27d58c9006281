"""A model on a server in the app: what it can tell, how much it is asked, what it was asked."""

from __future__ import annotations

from collections.abc import Callable

from llterm.backends.remote.connect import open_backend
from llterm.backends.remote.probe import find_dialect
from llterm.core.query import Backend
from llterm.ui.screens.server import ServerDialog
from tests.backends.remote.little_model import Server
from tests.backends.remote.standins import LlamaServer, OllamaServer
from tests.ui.conftest import Driven, Start

STORY = "Once the fox"


def served(start: Start, server: Server) -> Start:
    async def opening(progress: Callable[[float], None]) -> Backend:
        return await open_backend("tiny", server, await find_dialect(server, "auto", None))

    start.opening = opening
    return start


def on_screen(at: Driven) -> str:
    return "\n".join(str(one.render()) for one in at.app.screen.query("Static"))


async def test_what_a_server_can_tell_is_shown(start: Start) -> None:
    async with served(start, OllamaServer())(STORY, size=(100, 40)) as at:
        await at.press("alt+i")
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
        await at.press("alt+i", "alt+u")
        assert at.app.screen is at.main
        assert at.line("branch") == ""


async def test_what_a_server_cannot_is_told_where_it_matters(start: Start) -> None:
    async with served(start, OllamaServer())(STORY, size=(120, 40)) as at:
        await at.weave()
        assert "no healing: its server cannot" in at.line("found")
        await at.press("f4")
        await at.until(lambda: at.session.reader.places)
        assert "no heat: this server does not score given text" in str(at.main.heat.render_line(0))


async def test_the_counter_is_told_with_the_words(start: Start) -> None:
    async with served(start, LlamaServer())(STORY) as at:
        await at.weave()
        await at.press("f11")
        (told,) = [one.message for one in at.app._notifications]
        assert "3 words" in told
        assert "tiny: " in told
        assert " requests; " in told
