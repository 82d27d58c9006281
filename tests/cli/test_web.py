"""The app in a browser: what is said where it cannot be, and who may reach it."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from llterm.cli.web import without_web
from llterm.terminal import why_not_interactive
from tests.program import run


def test_the_words_about_the_browser_are_not_passed_on() -> None:
    typed = ["weave", "a.loom", "--web", "--port", "81", "-m", "fable", "--port=82"]
    assert without_web(typed) == ["weave", "a.loom", "-m", "fable"]


def test_a_page_at_the_other_end_is_as_good_as_a_terminal() -> None:
    driver = "textual.drivers.web_driver:WebDriver"
    assert why_not_interactive({"TEXTUAL_DRIVER": driver}) == ""


def test_a_port_in_use_or_a_missing_package_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = run(tmp_path, "weave", "--web", "--port", str(taken.getsockname()[1]))
    assert (ran.code, "cannot be had" in ran.err) == (2, True) or (
        ran.code == 5 and "textual-serve" in ran.err
    )
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Origin": "http://127.0.0.1:PORT"}, 200),
        ({"Origin": "http://elsewhere.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "elsewhere.example:PORT"}, 403),
    ],
)
async def test_only_its_own_page_is_answered(headers: dict[str, str], status: int) -> None:
    aiohttp = pytest.importorskip("aiohttp", reason="the extra `web` is not installed")
    web = pytest.importorskip("aiohttp.web")

    from llterm.cli.web import guard

    async def page(_: object) -> object:
        return web.Response(text="page")

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = web.Application(middlewares=[guard(port)])
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    typed = {name: value.replace("PORT", str(port)) for name, value in headers.items()}
    async with aiohttp.ClientSession() as session:
        answer = await session.get(f"http://127.0.0.1:{port}/", headers=typed)
        assert answer.status == status
        if status == 200:
            assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    await runner.cleanup()
