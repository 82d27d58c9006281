"""The app in a browser: what is said where it cannot be, and who may reach it."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import pyte
import pytest
from aiohttp import web

from llterm.cli.page_server import COOKIE, MOST_MESSAGE, MOST_SESSIONS, Gate, PageServer
from llterm.cli.web import without_web
from llterm.key_names import BROWSERS_OWN
from llterm.keymap import ACTIONS, PANES, action_of, resolve
from llterm.terminal import why_not_interactive
from tests.helpers.program import folders, run


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


@asynccontextmanager
async def served(command: str = "false") -> AsyncIterator[tuple[Gate, aiohttp.ClientSession]]:
    """The page at a port of this machine, and another program that asks for it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gate = Gate(f"127.0.0.1:{port}")
    runner = web.AppRunner(await PageServer(command, gate, port)._make_app())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(gate.origin, cookie_jar=jar) as session:
        yield gate, session
    await runner.cleanup()


def paths(gate: Gate) -> list[str]:
    """Everything that the server serves."""
    inside = ["/", "/ws", "/static/js/textual.js", "/static/", "/download/key"]
    return ["/", "/ws", *(gate.place + path for path in inside)]


STRANGERS: dict[str, tuple[bool, dict[str, str]]] = {
    "has neither token nor cookie": (False, {"Origin": "ORIGIN"}),
    "guesses a token": (False, {"Origin": "ORIGIN", "Cookie": f"{COOKIE}=guess"}),
    "is another site's page": (True, {"Origin": "http://elsewhere.example"}),
    "is another port's page": (True, {"Origin": "http://127.0.0.1:1"}),
    "is a page of no site": (True, {"Origin": "null"}),
    "rebinds its own name": (True, {"Host": "elsewhere.example:PORT", "Origin": "ORIGIN"}),
    "rebinds with its origin": (
        True,
        {"Host": "elsewhere.example:PORT", "Origin": "http://elsewhere.example:PORT"},
    ),
    "uses another name of this machine": (True, {"Host": "localhost:PORT", "Origin": "ORIGIN"}),
}


@pytest.mark.parametrize("who", STRANGERS)
async def test_a_stranger_reaches_nothing(who: str) -> None:
    """Nor does one that was once let in, and comes from elsewhere."""
    known, headers = STRANGERS[who]
    async with served() as (gate, session):
        port = gate.host.rpartition(":")[2]
        headers = {
            name: text.replace("ORIGIN", gate.origin).replace("PORT", port)
            for name, text in headers.items()
        }
        if known:
            await session.get(gate.address)
        for path in [*paths(gate), f"{gate.place}/?token=guess", f"{gate.place}/../static/js"]:
            answer = await session.get(path, headers=headers, allow_redirects=False)
            refusal = await answer.text()
            assert (answer.status, "Set-Cookie" in answer.headers) == (403, False), path
            assert "llterm answers whoever has the address" in refusal
            hardened(answer)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{gate.place}/ws", headers=headers)
        assert refused.value.status == 403


async def test_a_socket_without_an_origin_is_refused() -> None:
    async with served() as (gate, session):
        await session.get(gate.address)
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await session.ws_connect(f"{gate.place}/ws")
        assert refused.value.status == 403
        assert (await session.post(f"{gate.place}/")).status == 403


def hardened(answer: aiohttp.ClientResponse) -> None:
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"


async def test_the_address_lets_in_once_and_the_cookie_from_then_on() -> None:
    async with served() as (gate, session):
        answer = await session.get(gate.address, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, f"{gate.place}/")
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert f"Path={gate.place}" in cookie
        for path in ("/", "/static/js/textual.js"):
            answer = await session.get(gate.place + path)
            assert answer.status == 200
            hardened(answer)
            assert gate.address.partition("token=")[2] not in await answer.text()
        assert (await session.get(f"{gate.place}/download/none")).status == 404


async def test_there_are_so_many_pages_and_no_more() -> None:
    """The app of each is one that waits for its end."""
    app = "import sys; print('__GANGLION__', flush=True); sys.stdin.buffer.read(1)"
    waits = shlex.join([sys.executable, "-c", app])
    async with served(waits) as (gate, session):
        await session.get(gate.address)
        where, headers = f"{gate.place}/ws", {"Origin": gate.origin}
        for _ in range(2):
            sockets = [await free_page(session, where, headers) for _ in range(MOST_SESSIONS)]
            answer = await session.get(f"{gate.place}/")
            assert answer.status == 503
            assert "open already" in await answer.text()
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(where, headers=headers)
            assert refused.value.status == 503
            for socket in sockets:
                await socket.send_str("x" * (MOST_MESSAGE + 1))
                assert (await socket.receive()).type == aiohttp.WSMsgType.CLOSE
                await socket.close()


async def free_page(
    session: aiohttp.ClientSession, where: str, headers: dict[str, str]
) -> aiohttp.ClientWebSocketResponse:
    """A page, once those that were closed have ended their apps."""
    for _ in range(2000):
        with suppress(aiohttp.WSServerHandshakeError):
            return await session.ws_connect(where, headers=headers)
        await asyncio.sleep(0.01)
    raise AssertionError("never free again")


async def test_a_page_writes_a_story_and_the_secret_is_nowhere_to_be_seen(tmp_path: Path) -> None:
    """The real program, at a port, from its printed address to a key in its app."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["weave", "a.loom", "--prompt", "The maker", "-m", "scripted"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "llterm", *words, "--web", "--port", str(port),
        cwd=tmp_path, env={**os.environ, **folders(tmp_path)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        address = (await process.stdout.readline()).decode().split()[-1]
        secret = address.partition("token=")[2]
        assert len(secret) > 40
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:
            page = await session.get(address)
            assert page.status == 200
            url = re.search(r'session-websocket-url="(.*?)"', await page.text())
            assert url is not None
            headers = {"Origin": f"http://127.0.0.1:{port}"}
            app = await session.ws_connect(f"{url[1]}?width=80&height=24", headers=headers)
            screen = pyte.ByteStream(shown := pyte.Screen(80, 24))
            await until(app, screen, lambda: "The maker" in "".join(shown.display))
            await app.send_json(["stdin", "\x1bOP"])
            await until(app, screen, lambda: "Keys" in "".join(shown.display))
            assert not seen_by_all(secret)
            await app.close()
    finally:
        process.send_signal(signal.SIGINT)
        rest = await process.stdout.read()
        await process.wait()
    assert secret.encode() not in rest
    assert not kept(tmp_path, secret)


def seen_by_all(secret: str) -> list[Path]:
    """What the system tells of running programs, to others or to their owner."""
    found = [*Path("/proc").glob("[0-9]*/cmdline"), *Path("/proc").glob("[0-9]*/environ")]
    return [one for one in found if holds(one, secret)]


def kept(folder: Path, secret: str) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file() and holds(one, secret)]


def holds(path: Path, secret: str) -> bool:
    try:
        return secret.encode() in path.read_bytes()
    except OSError:
        return False


async def until(
    app: aiohttp.ClientWebSocketResponse, screen: pyte.ByteStream, shows: Callable[[], bool]
) -> None:
    while not shows():
        message = await app.receive(timeout=60)
        assert message.type == aiohttp.WSMsgType.BINARY, message
        screen.feed(message.data)


def test_in_a_browser_every_action_has_a_key_that_arrives() -> None:
    keymap, usual = resolve({}, browser=True), resolve({})
    for action in ACTIONS:
        for pane in PANES:
            keys = keymap.keys(action, pane)
            assert not set(keys) & BROWSERS_OWN, action.id
            assert bool(keys) == bool(usual.keys(action, pane)), action.id
    only = resolve({"app.quit": "ctrl+w"}, browser=True)
    assert only.keys(action_of("app.quit"), "everywhere") == ("ctrl+w",)
