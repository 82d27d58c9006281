"""Keys: where they come from, and that they are nowhere else than in the requests."""

from __future__ import annotations

import json
import logging
import pickle
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest

from llterm.backends.remote.api_keys import Secret, read_key
from llterm.backends.remote.server_connection import open_transport
from llterm.config.server_settings import ServerSettings
from llterm.errors import ConfigError, LltermError, UsageError
from tests.helpers import planted_key
from tests.helpers.faulty_server import (
    FaultyServer,
    MakeWire,
    Step,
    collected,
    cut,
    events,
    hang,
    raw,
    redirect,
    reply,
    status,
    whole,
)

URL = ("https://some.example",)


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / planted_key.SOURCE
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


def signed(key: Secret | None) -> str:
    """What a request would carry."""

    class Carrier:
        headers: dict[str, str] = {}  # noqa: RUF012

    assert key is not None
    return str(key.sign(Carrier()).headers["Authorization"])


def test_a_key_from_a_variable_a_file_and_a_command(tmp_path: Path) -> None:
    path = written(tmp_path, f"{planted_key.KEY}\n")
    for settings in (
        ServerSettings(URL, key_env=planted_key.VARIABLE),
        ServerSettings(URL, key_file=path),
        ServerSettings(URL, key_command=("cat", str(path))),
    ):
        assert signed(read_key(settings)) == f"Bearer {planted_key.KEY}"
    assert read_key(ServerSettings(URL)) is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"key_env": "NO_SUCH_VARIABLE"}, "the variable NO_SUCH_VARIABLE"),
        ({"key_file": Path("/nowhere/at-all")}, "No such file"),
        ({"key_file": Path("/dev/null")}, "not a file"),
        ({"key_command": ("no-such-program-here",)}, "No such file"),
        ({"key_command": (sys.executable, "-c", "raise SystemExit(3)")}, "code 3"),
        ({"key_command": ("printf", "%s", "two words")}, "cannot be a key"),
        ({"key_command": ("printf", "%s", "two\r\nlines")}, "cannot be a key"),
        ({"key_command": ("true",)}, "it is empty"),
    ],
)
def test_no_key_says_where_it_was_looked_for(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_key(ServerSettings(URL, **settings))
    assert words in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path, planted_key.KEY, mode)
    with pytest.raises(UsageError) as caught:
        read_key(ServerSettings(URL, key_file=path))
    assert f"chmod 600 {path}" in caught.value.hint
    assert planted_key.KEY not in str(caught.value)


def test_what_a_failing_command_says_is_not_repeated(tmp_path: Path) -> None:
    path = written(tmp_path, planted_key.KEY)
    program = f"cat {path}; cat {path} >&2; exit 3"
    with pytest.raises(UsageError) as caught:
        read_key(ServerSettings(URL, key_command=("sh", "-c", program)))
    assert planted_key.KEY not in shown(caught.value)


def test_a_key_shows_itself_nowhere() -> None:
    key = Secret(planted_key.KEY)
    assert f"{key} {key!r} {[key]} {vars} {key.mistake}".count(planted_key.KEY) == 0
    with pytest.raises(TypeError):
        pickle.dumps(key)
    assert key.hide(f"<{planted_key.KEY}> {json.dumps(planted_key.KEY)}") == '<***> "***"'
    assert key.hide(planted_key.KEY.replace("/", "\\/")) == "***"
    assert Secret("none").hide("none of it") == "none of it"


def shown(error: BaseException) -> str:
    """Everything that a crash screen can make of an error: with chained ones, and all locals of
    llterm and of the libraries below it."""
    while error.__traceback__ and "/tests/" in error.__traceback__.tb_frame.f_code.co_filename:
        error.__traceback__ = error.__traceback__.tb_next
    assert error.__traceback__ is not None
    plain = traceback.TracebackException.from_exception(error, capture_locals=True)
    return "".join((*plain.format(), str(error), repr(error)))


ECHO = f"Incorrect API key provided: {planted_key.KEY}. \x1b[1m"
LEAKS: list[Step] = [
    status(401, ECHO),
    status(400, ECHO),
    status(500, ECHO),
    status(429, ECHO, Retry_After="4000"),
    whole(f"<title>{ECHO}</title>".encode(), 403),
    whole(planted_key.KEY.replace("/", "\\/").encode(), 404),
    reply({"detail": {planted_key.KEY: [planted_key.KEY]}}, 422),
    redirect(f"http://elsewhere.example/{planted_key.KEY}"),
    raw(events({"error": {"message": ECHO, "code": 400}})),
    whole(b'{"logprob": NaN}'),
    whole(b"{"),
    whole(f"{planted_key.KEY[:20]} {planted_key.KEY} {planted_key.KEY}".encode()),
    reply({"told": ECHO, "p": float("nan")}),
    cut(),
    hang(),
    raw(f"{planted_key.KEY}\r\n\r\n".encode(), close=True),
]


@pytest.mark.parametrize("leak", LEAKS)
async def test_no_error_holds_the_key(
    wire: MakeWire, leak: Step, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with FaultyServer(leak) as server:
        transport = wire(server.url, key=planted_key.KEY, timeout=0.05)
        with pytest.raises(LltermError) as caught:
            await transport.post("/completion", {"prompt": "a"})
        with pytest.raises(LltermError) as streamed:
            await collected(transport.stream("/completion", {"prompt": "a"}), [])
        assert server.requests[0].headers["authorization"] == f"Bearer {planted_key.KEY}"
    for error in (caught.value, streamed.value):
        assert planted_key.KEY not in shown(error)
        assert planted_key.KEY not in repr(vars(error))
    assert planted_key.KEY not in repr([vars(transport), *map(vars, transport.replicas.values())])
    assert planted_key.KEY not in caplog.text
    assert "127.0.0.1" not in caplog.text, "addresses are nobody's business either"


async def test_the_source_of_a_refused_key_is_named(tmp_path: Path) -> None:
    async with FaultyServer(status(401)) as server:
        transport = await open_transport(
            ServerSettings((server.url,), key_env=planted_key.VARIABLE)
        )
        with pytest.raises(LltermError, match=f"variable {planted_key.VARIABLE}"):
            await transport.get("/props")
        await transport.close()


async def test_a_recording_holds_no_key(tmp_path: Path) -> None:
    path = tmp_path / "some.cassette"
    async with FaultyServer(reply({"told": ECHO}), status(400, ECHO)) as server:
        settings = ServerSettings((server.url,), key_env=planted_key.VARIABLE, record=path)
        transport = await open_transport(settings)
        assert (await transport.post("/completion", {"prompt": f"my key: {planted_key.KEY}"})).data
        with pytest.raises(LltermError):
            await transport.get("/props")
        await transport.close()
    assert len(path.read_text().splitlines()) == 3
    assert not [*planted_key.found_in(tmp_path)]
    assert server.url not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


async def test_a_key_does_not_go_over_plain_http_without_a_yes() -> None:
    settings = ServerSettings(("http://192.168.7.7:8080",), key_env=planted_key.VARIABLE)
    with pytest.raises(ConfigError, match="unencrypted"):
        await open_transport(settings)


PROXIES = """
import asyncio, sys
from llterm.backends.remote.server_connection import open_transport
from llterm.config.server_settings import ServerSettings
async def main():
    for url in sys.argv[1:]:
        wire = await open_transport(ServerSettings((url,)))
        print((await wire.get("/props")).data)
        await wire.close()
asyncio.run(main())
"""


async def test_a_request_to_this_machine_goes_through_no_proxy(wire: MakeWire) -> None:
    async with FaultyServer(reply("server")) as server, FaultyServer(reply("proxy")) as proxy:
        one = wire(server.url, proxy=proxy.url)
        assert (await one.get("/props")).data == "server"
        other = wire("http://some.example", proxy=proxy.url)
        assert (await other.get("/props")).data == "proxy"
        assert proxy.requests[0].path == "http://some.example/props"
        import asyncio

        environment = {"HTTP_PROXY": proxy.url, "PYTHONPATH": ":".join(sys.path)}
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", PROXIES, server.url, "http://some.example"],
            env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout.split() == ["server", "proxy"]
